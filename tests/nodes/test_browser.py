"""The pack in a real ComfyUI with its frontend in a browser, with both node renderers.

These tests need what tests/comfyui.py needs, playwright, and Chromium. ``CHROMIUM`` names its executable, by default Debian's.
``SPAN_SCREENSHOTS`` names a folder for screenshots.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch

from span_arch.video import VideoSettings, compose, copy_video

from ..comfyui import PACK, Host

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
SCREENSHOTS = os.environ.get("SPAN_SCREENSHOTS")
SETTINGS = {
    "Comfy.TutorialCompleted": True,  # no welcome dialog
    "Comfy.Workflow.Persist": False,  # no workflow of the last test
}

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed"),
    pytest.mark.skipif(not Path(CHROMIUM).is_file(), reason=f"there is no browser at {CHROMIUM}; set CHROMIUM"),
]


class Window:
    """ComfyUI in a browser window."""

    def __init__(self, page: Any, host: Host) -> None:
        self.page, self.host = page, host
        self.complaints: list[str] = []
        page.set_default_timeout(120_000)  # the machine may be busy
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self._complain(str(error.stack)))
        page.goto(host.url)
        page.wait_for_function("() => Boolean(window.app?.canvas?.graph && window.LiteGraph?.registered_node_types.SPANUpscale)")
        page.get_by_test_id("queue-button").first.wait_for()
        page.evaluate("""() => {
            window.events = [];
            for (const kind of ["execution_start", "progress", "execution_success", "execution_error", "execution_interrupted"])
                app.api.addEventListener(kind, ({ detail }) => events.push([kind, detail]));
            for (const kind of ["b_preview", "b_preview_with_metadata"])
                app.api.addEventListener(kind, () => events.push(["preview", {}]));
        }""")

    def evaluate(self, code: str, *values: Any) -> Any:
        return self.page.evaluate(f"async (values) => {{ {code} }}", values)

    def load(self, graph: dict[str, Any]) -> None:
        """Open a graph in the API format."""
        self.evaluate("await app.loadApiJson(values[0], 'graph'); app.canvas.ds.reset(); app.canvas.setDirty(true, true)", graph)
        self.page.wait_for_timeout(300)

    def reload(self) -> None:
        """Close the workflow and open it again, as if it had been saved."""
        self.evaluate("await app.loadGraphData(JSON.parse(JSON.stringify(app.graph.serialize())))")

    def node(self, type: str, code: str) -> Any:
        """Return the value of a JavaScript expression in ``node``."""
        return self.evaluate(f"const node = app.graph.nodes.find((node) => node.type === values[0]); return {code}", type)

    def title_of(self, type: str) -> tuple[float, float]:
        """Return a point on the title of a node, in window pixels."""
        scaled = "(node.pos[i] + at + app.canvas.ds.offset[i]) * app.canvas.ds.scale"
        x, y = self.node(type, f"[60, -12].map((at, i) => {scaled})")
        box = self.page.locator("#graph-canvas").bounding_box()
        return box["x"] + x, box["y"] + y

    def choose(self, type: str, entry: str) -> None:
        """Choose an entry of the context menu of a node."""
        self.page.mouse.click(*self.title_of(type), button="right")
        self.page.get_by_text(entry, exact=True).first.click()

    def run(self) -> None:
        self.evaluate("events.length = 0")
        self.page.get_by_test_id("queue-button").first.click()

    def wait_for(self, *kinds: str) -> list[Any]:
        """Return the first event of one of the kinds since the run started."""
        self.page.wait_for_function("(kinds) => events.some(([kind]) => kinds.includes(kind))", arg=list(kinds))
        return self.evaluate("return events.find(([kind]) => values.includes(kind))", *kinds)

    def finish(self) -> None:
        kind, detail = self.wait_for("execution_success", "execution_error")
        assert kind == "execution_success", detail

    def wait_until(self, type: str, code: str) -> None:
        found = "app.graph.nodes.find((node) => node.type === type)"
        self.page.wait_for_function(f"(type) => {{ const node = {found}; return {code}; }}", arg=type)

    def _listen(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self._complain(f"{message.text} ({message.location.get('url')})")

    def _complain(self, text: str) -> None:
        if re.search("extensions/span-upscale/.*js|span-upscale.*deprecated|deprecated.*span-upscale", text, re.IGNORECASE):
            self.complaints.append(text)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(params=["canvas", "vue"])
def window(host: Host, browser: Any, request: pytest.FixtureRequest) -> Iterator[Window]:
    host.post("/settings", **SETTINGS, **{"Comfy.VueNodes.Enabled": request.param == "vue"})
    host.post("/free", unload_models=True, free_memory=True)  # so that no node is cached from the last test
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    opened = Window(page, host)
    if request.param == "vue" and not opened.evaluate("return Boolean(app.collectNodeMenuItems)"):
        page.close()
        pytest.skip("the Vue renderer of this frontend is a preview without links")
    yield opened
    if SCREENSHOTS:
        Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(SCREENSHOTS) / (re.sub(r"\W+", "-", request.node.name).strip("-") + ".png"))
    page.close()
    assert not opened.complaints


def graph(image: str = "64x64.png", model: str = "spanx4_ch48") -> dict[str, Any]:
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": image}},
        "2": {"class_type": "LoadSPANModel", "inputs": {"model_name": model}},
        "3": {"class_type": "SPANUpscale", "inputs": {"upscale_model": ["2", 0], "image": ["1", 0]}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "seen"}},
        "5": {"class_type": "SPANModelInfo", "inputs": {"upscale_model": ["2", 0]}},
    }


@pytest.mark.parametrize(("words", "nodes"), [("span", ["SPAN Upscale", "Load SPAN Model"]), ("upscale", ["SPAN Upscale"])])
def test_the_search_finds_the_nodes(window: Window, words: str, nodes: list[str]) -> None:
    window.evaluate("await app.extensionManager.command.execute('Workspace.SearchBox.Toggle')")
    window.page.wait_for_function("() => document.activeElement.tagName === 'INPUT'")
    window.page.keyboard.type(words)
    for node in nodes:
        window.page.get_by_text(node).first.wait_for()


def test_the_menu_of_an_image_output_adds_a_working_upscaler(window: Window) -> None:
    window.load({"1": graph()["1"], "4": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}})
    window.choose("LoadImage", "Upscale with SPAN")
    assert window.node("SPANUpscale", "node.inputs.slice(0, 2).map((_, i) => node.getInputNode(i)?.type)") == ["LoadSPANModel", "LoadImage"]
    assert window.node("PreviewImage", "node.getInputNode(0).type") == "LoadImage"
    window.evaluate("""
        const [from, to] = ["SPANUpscale", "PreviewImage"].map((type) => app.graph.nodes.find((node) => node.type === type));
        from.connect(0, to, 0);""")
    window.run()
    window.finish()
    assert window.evaluate("const [node] = app.graph.findNodesByType('PreviewImage'); return app.nodeOutputs[node.id].images.length") == 1


def test_nodes_without_an_image_output_have_no_menu_entry(window: Window) -> None:
    window.load(graph())
    window.page.mouse.click(*window.title_of("LoadSPANModel"), button="right")
    window.page.get_by_text("Bypass", exact=True).first.wait_for()
    assert window.page.get_by_text("Upscale with SPAN").count() == 0


def test_the_menu_entry_works_inside_a_subgraph(window: Window) -> None:
    window.load(graph())
    inside = window.evaluate("""
        const image = app.graph.nodes.find((node) => node.type === "LoadImage");
        const { subgraph } = app.graph.convertToSubgraph(new Set([image]));
        app.canvas.setGraph(subgraph);
        const node = subgraph.nodes.find((node) => node.type === "LoadImage");
        const entries = app.canvas.getNodeMenuOptions(node);
        entries.find((entry) => entry?.content === "Upscale with SPAN").callback();
        return subgraph.nodes.map((node) => node.type);""")
    assert sorted(inside) == ["LoadImage", "LoadSPANModel", "SPANUpscale"]


def test_a_run_shows_progress_and_a_preview_and_keeps_its_reports(window: Window) -> None:
    window.load(graph("large.png", "spanx2_ch48"))
    window.run()
    _, progress = window.wait_for("progress")
    assert str(progress["node"]) == "3"
    assert progress["value"] <= progress["max"]
    window.wait_for("preview")
    window.finish()
    for node, words in (("SPANModelInfo", "architecture"), ("SPANUpscale", "1500x1500 to 3000x3000 in ")):
        report = f"node.widgets?.filter((widget) => String(widget.value).startsWith('{words}')).map((widget) => widget.name)"
        window.wait_until(node, f"{report}?.[0] === 'last run'")
        assert window.node(node, report) == ["last run"]
    window.reload()
    assert window.node("SPANUpscale", report) == ["last run"]
    assert "last run" not in json.dumps(window.evaluate("return (await app.graphToPrompt()).output"))


def test_cancelling_takes_under_two_seconds_and_the_next_run_works(window: Window) -> None:
    window.load(graph("large.png", "spanx4_ch52"))
    window.run()
    window.wait_for("progress")
    start = time.monotonic()
    window.page.get_by_label("Cancel current run").first.click()
    window.wait_for("execution_interrupted")
    assert time.monotonic() - start < 2
    window.load(graph())
    window.run()
    window.finish()


def video_graph(host: Host, frames: int) -> dict[str, Any]:
    video = host.folder / "input" / f"{frames}.mp4"
    if not video.exists():
        compose(host.folder / "video.nut", torch.rand(frames, 48, 64, 3), Fraction(24), torch.zeros(1, 1000 * frames))
        copy_video(host.folder / "video.nut", video, settings=VideoSettings(pixel_format="yuv420p"))
    return {
        "1": {"class_type": "LoadVideo", "inputs": {"file": video.name}},
        "2": graph(model="spanx2_ch48")["2"],
        "3": {"class_type": "SPANUpscaleVideo", "inputs": {"upscale_model": ["2", 0], "video": ["1", 0], "codec": "h264"}},
        "4": {"class_type": "SaveVideo", "inputs": {"video": ["3", 0], "filename_prefix": "seen", "format": "auto", "codec": "auto"}},
    }


def test_a_video_shows_a_preview_and_then_plays_in_the_node(window: Window) -> None:
    window.load(video_graph(window.host, 240))
    window.run()
    _, progress = window.wait_for("progress")
    assert str(progress["node"]) == "3"
    window.wait_for("preview")
    window.finish()
    window.wait_until("SPANUpscaleVideo", "node.widgets.some((widget) => String(widget.value).startsWith('240 x 64x48 to 128x96 in '))")
    window.page.wait_for_function(
        "() => [...document.querySelectorAll('video')].some((video) => video.src.includes('type=temp') && video.videoWidth === 128)"
    )


def test_cancelling_a_video_leaves_no_file(window: Window) -> None:
    def files() -> set[Path]:
        return {path for folder in ("temp", "output") for path in (window.host.folder / folder).rglob("*") if path.suffix != ".png"}

    window.load(video_graph(window.host, 2000))
    before = files()
    window.run()
    window.wait_for("progress")
    assert files() > before
    start = time.monotonic()
    window.page.get_by_label("Cancel current run").first.click()
    window.wait_for("execution_interrupted")
    assert time.monotonic() - start < 2
    assert files() == before


def test_an_error_is_shown_without_a_traceback(window: Window) -> None:
    (window.host.folder / "models" / "upscale_models" / "page.pth").write_text("<!DOCTYPE html><title>Sign in</title>")
    window.host.get("/object_info/LoadSPANModel")
    window.load(graph(model="page.pth"))
    window.run()
    _, error = window.wait_for("execution_error")
    assert "Traceback" not in error["exception_message"]
    sentence, details = window.page.get_by_text("is a web page").first, window.page.get_by_test_id("error-overlay-see-errors")
    sentence.or_(details).first.wait_for()
    if details.count():  # newer frontends hide the message at first
        details.click()
    sentence.wait_for()


def test_the_help_page_opens_with_its_image(window: Window) -> None:
    window.load(graph())
    window.page.mouse.click(*window.title_of("SPANUpscale"))
    window.page.get_by_test_id("info-button").first.click()
    image = window.page.locator(".node-help-content img[src*=SPANUpscale]").first
    image.wait_for()
    window.page.wait_for_function("(image) => image.complete && image.naturalWidth > 0", arg=image.element_handle())


def test_mean_and_range_is_grey_unless_normalise_is_custom(window: Window) -> None:
    grey = "node.widgets.find((widget) => widget.name === 'mean_and_range').disabled"
    choose = "node.widgets.find((widget) => widget.name === 'normalise').setValue"
    window.load(graph())
    assert window.node("LoadSPANModel", grey) is True
    window.node("LoadSPANModel", f"{choose}('custom', {{ e: {{}}, node, canvas: app.canvas }})")
    assert window.node("LoadSPANModel", grey) is False
    window.reload()
    assert window.node("LoadSPANModel", grey) is False
    window.node("LoadSPANModel", f"{choose}('auto', {{ e: {{}}, node, canvas: app.canvas }})")
    assert window.node("LoadSPANModel", grey) is True


def test_a_reopened_workflow_keeps_a_size_and_the_inputs_after_it(window: Window) -> None:
    values = {
        "size": "width and height",
        "size.width": 640,
        "size.height": 360,
        "size.fit": "fill",
        "precision": "float32",
        "seamless": "x",
    }
    opened = graph()
    opened["3"]["inputs"] |= values
    window.load(opened)
    window.reload()
    inputs = window.evaluate("return (await app.graphToPrompt()).output[3].inputs")
    assert {name: inputs.get(name) for name in values} == values


@pytest.mark.parametrize("path", sorted((PACK / "example_workflows").glob("*.json")), ids=lambda path: path.stem)
def test_every_example_workflow_loads_and_runs(window: Window, path: Path) -> None:
    window.evaluate("await app.loadGraphData(values[0])", json.loads(path.read_text(encoding="utf-8")))
    missing = window.evaluate("""
        const inside = (graph) => graph.nodes.flatMap((node) => node.subgraph ? inside(node.subgraph) : [node.type]);
        return inside(app.graph).filter((type) => !LiteGraph.registered_node_types[type]);""")
    if "ImageCompare" in missing:
        pytest.skip("this version has no node to compare images")
    assert missing == []
    if "diffusion" in path.stem:
        pytest.skip("the workflow loads, but running it needs a checkpoint of several gigabytes")
    window.run()
    window.finish()
