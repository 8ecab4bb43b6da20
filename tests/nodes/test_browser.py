"""The pack in a real ComfyUI with its real frontend, used as its users do: in a browser, with both of its renderers of nodes.

Needs what tests/comfyui.py needs, playwright, and Chromium at ``CHROMIUM``, by default where Debian has it. ``SPAN_SCREENSHOTS`` names a
folder for pictures of what was seen.
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
    "Comfy.TutorialCompleted": True,  # no welcome in the way
    "Comfy.Workflow.Persist": False,  # nor the workflow of the last test
}

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed"),
    pytest.mark.skipif(not Path(CHROMIUM).is_file(), reason=f"there is no browser at {CHROMIUM}: CHROMIUM names none"),
]


class Window:
    """ComfyUI in a window of the browser."""

    def __init__(self, page: Any, host: Host) -> None:
        self.page, self.host = page, host
        self.complaints: list[str] = []
        page.set_default_timeout(120_000)  # a busy machine takes its time
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self._complain(str(error.stack)))
        page.goto(host.url)
        page.wait_for_function("() => Boolean(window.app?.canvas?.graph && window.LiteGraph?.registered_node_types.SPANUpscale)")
        page.get_by_test_id("queue-button").first.wait_for()
        page.evaluate("""() => {
            window.seen = [];
            for (const kind of ["execution_start", "progress", "execution_success", "execution_error", "execution_interrupted"])
                app.api.addEventListener(kind, ({ detail }) => seen.push([kind, detail]));
            for (const kind of ["b_preview", "b_preview_with_metadata"])
                app.api.addEventListener(kind, () => seen.push(["preview", {}]));
        }""")

    def evaluate(self, code: str, *values: Any) -> Any:
        return self.page.evaluate(f"async (values) => {{ {code} }}", values)

    def load(self, graph: dict[str, Any]) -> None:
        """Lays out a graph that is in the form in which hosts are asked to run it."""
        self.evaluate("await app.loadApiJson(values[0], 'graph'); app.canvas.ds.reset(); app.canvas.setDirty(true, true)", graph)
        self.page.wait_for_timeout(300)

    def reload(self) -> None:
        """What closing a saved workflow and opening it again does."""
        self.evaluate("await app.loadGraphData(JSON.parse(JSON.stringify(app.graph.serialize())))")

    def node(self, type: str, code: str) -> Any:
        """The value of an expression in ``node``."""
        return self.evaluate(f"const node = app.graph.nodes.find((node) => node.type === values[0]); return {code}", type)

    def title_of(self, type: str) -> tuple[float, float]:
        """A place on the title of a node, in pixels of the window."""
        scaled = "(node.pos[i] + at + app.canvas.ds.offset[i]) * app.canvas.ds.scale"
        x, y = self.node(type, f"[60, -12].map((at, i) => {scaled})")
        box = self.page.locator("#graph-canvas").bounding_box()
        return box["x"] + x, box["y"] + y

    def choose(self, type: str, entry: str) -> None:
        """An entry of the menu of a node."""
        self.page.mouse.click(*self.title_of(type), button="right")
        self.page.get_by_text(entry, exact=True).first.click()

    def run(self) -> None:
        self.evaluate("seen.length = 0")
        self.page.get_by_test_id("queue-button").first.click()

    def wait_for(self, *kinds: str) -> list[Any]:
        """The first event of one of the kinds since the graph was run."""
        self.page.wait_for_function("(kinds) => seen.some(([kind]) => kinds.includes(kind))", arg=list(kinds))
        return self.evaluate("return seen.find(([kind]) => values.includes(kind))", *kinds)

    def finish(self) -> None:
        kind, told = self.wait_for("execution_success", "execution_error")
        assert kind == "execution_success", told

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
    host.post("/free", unload_models=True, free_memory=True)  # so that a graph of the last test is run again
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    opened = Window(page, host)
    if request.param == "vue" and not opened.evaluate("return Boolean(app.collectNodeMenuItems)"):
        page.close()
        pytest.skip("this frontend's other renderer is a preview that draws no links")
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
def test_the_nodes_are_found(window: Window, words: str, nodes: list[str]) -> None:
    window.evaluate("await app.extensionManager.command.execute('Workspace.SearchBox.Toggle')")
    window.page.wait_for_function("() => document.activeElement.tagName === 'INPUT'")
    window.page.keyboard.type(words)
    for node in nodes:
        window.page.get_by_text(node).first.wait_for()


def test_the_menu_of_an_image_builds_a_graph_that_runs(window: Window) -> None:
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


def test_no_other_node_has_that_entry(window: Window) -> None:
    window.load(graph())
    window.page.mouse.click(*window.title_of("LoadSPANModel"), button="right")
    window.page.get_by_text("Bypass", exact=True).first.wait_for()
    assert window.page.get_by_text("Upscale with SPAN").count() == 0


def test_the_menu_inside_a_subgraph_adds_to_the_subgraph(window: Window) -> None:
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


def test_a_run_moves_the_progress_bar_shows_the_picture_and_leaves_its_reports_for_good(window: Window) -> None:
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


def test_cancel_stops_within_two_seconds_and_the_next_run_works(window: Window) -> None:
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


def film_graph(host: Host, frames: int) -> dict[str, Any]:
    film = host.folder / "input" / f"{frames}.mp4"
    if not film.exists():
        compose(host.folder / "film.nut", torch.rand(frames, 48, 64, 3), Fraction(24), torch.zeros(1, 1000 * frames))
        copy_video(host.folder / "film.nut", film, settings=VideoSettings(pixel_format="yuv420p"))
    return {
        "1": {"class_type": "LoadVideo", "inputs": {"file": film.name}},
        "2": graph(model="spanx2_ch48")["2"],
        "3": {"class_type": "SPANUpscaleVideo", "inputs": {"upscale_model": ["2", 0], "video": ["1", 0], "codec": "h264"}},
        "4": {"class_type": "SaveVideo", "inputs": {"video": ["3", 0], "filename_prefix": "seen", "format": "auto", "codec": "auto"}},
    }


def test_a_video_is_seen_on_its_way_and_plays_in_the_node(window: Window) -> None:
    window.load(film_graph(window.host, 240))
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
    def left() -> set[Path]:
        return {path for folder in ("temp", "output") for path in (window.host.folder / folder).rglob("*") if path.suffix != ".png"}

    window.load(film_graph(window.host, 2000))
    before = left()
    window.run()
    window.wait_for("progress")
    assert left() > before
    start = time.monotonic()
    window.page.get_by_label("Cancel current run").first.click()
    window.wait_for("execution_interrupted")
    assert time.monotonic() - start < 2
    assert left() == before


def test_an_error_is_shown_as_a_sentence(window: Window) -> None:
    (window.host.folder / "models" / "upscale_models" / "page.pth").write_text("<!DOCTYPE html><title>Sign in</title>")
    window.host.get("/object_info/LoadSPANModel")
    window.load(graph(model="page.pth"))
    window.run()
    _, told = window.wait_for("execution_error")
    assert "Traceback" not in told["exception_message"]
    sentence, details = window.page.get_by_text("is a web page").first, window.page.get_by_test_id("error-overlay-see-errors")
    sentence.or_(details).first.wait_for()
    if details.count():  # newer frontends fold the sentence away
        details.click()
    sentence.wait_for()


def test_the_help_page_opens_with_its_picture(window: Window) -> None:
    window.load(graph())
    window.page.mouse.click(*window.title_of("SPANUpscale"))
    window.page.get_by_test_id("info-button").first.click()
    picture = window.page.locator(".node-help-content img[src*=SPANUpscale]").first
    picture.wait_for()
    handle = picture.element_handle()
    window.page.wait_for_function("(picture) => picture.complete && picture.naturalWidth > 0", arg=handle)


def test_mean_and_range_is_grey_unless_custom(window: Window) -> None:
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
        pytest.skip("it loads; to run it takes a checkpoint of some gigabytes")
    window.run()
    window.finish()
