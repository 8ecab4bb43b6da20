"""The pack in a real ComfyUI, driven through the HTTP API of its frontend."""

from __future__ import annotations

import json
import shutil
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import span_arch
from span_arch.image_ops.metrics import quality
from span_arch.video import VideoSettings, compose, copy_video, probe

from ..comfyui import PACK, Host


def read(path: Path) -> torch.Tensor:
    """Return an image file as (H, W, 3) in 0..1."""
    with Image.open(path) as file:
        return torch.from_numpy(np.array(file.convert("RGB"))) / 255


def golden_image(data: Path) -> torch.Tensor:
    return read(data / "golden" / "64x64_spanx4_ch48.png")


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    assert quality(found, expected, border=0).psnr >= 50


def graph(
    model: str = "spanx4_ch48", image: str = "64x64.png", upscaler: str = "SPANUpscale", loader: str = "LoadSPANModel", **inputs: Any
) -> dict[str, Any]:
    return {
        "image": {"class_type": "LoadImage", "inputs": {"image": image}},
        "model": {"class_type": loader, "inputs": {"model_name": model}},
        "large": {"class_type": upscaler, "inputs": {"upscale_model": ["model", 0], "image": ["image", 0], **inputs}},
        "save": {"class_type": "SaveImage", "inputs": {"images": ["large", 0], "filename_prefix": "large"}},
    }


SETTINGS = {"tile_size": 0, "precision": "auto"}


@pytest.mark.parametrize(("upscaler", "inputs"), [("SPANUpscale", SETTINGS), ("SPANUpscale", {"tile_size": 16, "precision": "float32"}),
                                                  ("ImageUpscaleWithModel", {})])  # fmt: skip
def test_every_upscaler_gives_the_golden_image(host: Host, data: Path, upscaler: str, inputs: dict[str, Any]) -> None:
    assert_close(host.image(graph(upscaler=upscaler, **inputs)), golden_image(data))


def test_alpha_seamless_and_ensemble_have_an_effect(host: Host) -> None:
    image = read(host.folder / "input" / "64x64.png")[None]
    expected = span_arch.upscale(span_arch.load("spanx4_ch48"), image, span_arch.Settings(seamless="xy", ensemble=True))[0]
    assert_close(host.image(graph(**SETTINGS, alpha="white", seamless="xy", ensemble=True)), expected)


def test_our_upscaler_takes_a_model_of_the_hosts_loader(host: Host, data: Path) -> None:
    path = host.folder / "models" / "upscale_models" / "training.safetensors"
    span_arch.save(span_arch.load("spanx4_ch48"), path, form="training")
    assert_close(host.image(graph(path.name, loader="UpscaleModelLoader", **SETTINGS)), golden_image(data))


@pytest.mark.parametrize("name", ["span_ntire2024_ch28", "spanf_ntire2025", "espan_ntire2025"])
@pytest.mark.parametrize("upscaler", ["ImageUpscaleWithModel", "SPANUpscale"])
def test_the_hosts_loader_opens_the_whole_family(host: Host, data: Path, name: str, upscaler: str) -> None:
    shutil.copy(data / "checkpoints" / f"{name}.pth", host.folder / "models" / "upscale_models")
    host.get("/object_info/UpscaleModelLoader")
    settings = SETTINGS if upscaler == "SPANUpscale" else {}
    image = read(host.folder / "input" / "64x64.png")[None]
    expected = span_arch.upscale(span_arch.load(data / "checkpoints" / f"{name}.pth"), image, span_arch.Settings(precision="float32"))[0]
    assert_close(host.image(graph(f"{name}.pth", loader="UpscaleModelLoader", upscaler=upscaler, **settings)), expected)


@pytest.mark.parametrize(
    ("format", "suffix"),
    [("safetensors", "safetensors"), ("safetensors, training form", "safetensors"), ("pth", "pth"), ("onnx", "onnx"), ("ncnn", "param")],
)
def test_a_saved_model_loads_and_gives_the_same_image(host: Host, data: Path, format: str, suffix: str) -> None:
    prefix = f"upscale_models/{format.replace(', ', '-').replace(' ', '-')}"
    saving = {
        "model": {"class_type": "LoadSPANModel", "inputs": {"model_name": "spanx4_ch48"}},
        "save": {
            "class_type": "SaveSPANModel",
            "inputs": {"upscale_model": ["model", 0], "filename_prefix": prefix, "format": format, "dtype": "float32"},
        },
    }
    (text,) = host.run(saving)["save"]["text"]
    file = host.folder / "output" / f"{prefix}_00001_x4.{suffix}"
    assert text.startswith(file.name)
    for part in (file, file.with_suffix(".bin")):
        if part.exists():
            shutil.copy(part, host.folder / "models" / "upscale_models")
    assert file.name in json.dumps(host.get("/object_info/LoadSPANModel"))
    assert_close(host.image(graph(file.name, **SETTINGS)), golden_image(data))


def test_the_normalisation_can_be_chosen(host: Host) -> None:
    plain = host.image(graph(**SETTINGS))
    same = graph(**SETTINGS)
    same["model"]["inputs"] |= {"normalise": "custom", "mean_and_range": "0.4488, 0.4371, 0.4040, 255"}
    other = graph(**SETTINGS)
    other["model"]["inputs"] |= {"normalise": "none"}
    assert torch.equal(host.image(same), plain)
    assert not torch.equal(host.image(other), plain)
    other["model"]["inputs"] |= {"normalise": "custom", "mean_and_range": "0.4"}
    assert "The normalisation '0.4' is unknown" in host.message(other)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ({}, (256, 256)),
        ({"size": "model scale"}, (256, 256)),
        ({"size": "factor", "size.factor": 1.5, "size.filter": "area"}, (96, 96)),
        ({"size": "factor", "size.factor": 5.0}, (320, 320)),
        ({"size": "longest side", "size.pixels": 100}, (100, 100)),
        ({"size": "width and height", "size.width": 99, "size.height": 50, "size.fit": "fill", "size.filter": "bicubic"}, (50, 99)),
        ({"size": "megapixels", "size.megapixels": 0.01}, (100, 100)),
    ],
)
def test_the_result_has_the_chosen_size(host: Host, size: dict[str, Any], expected: tuple[int, int]) -> None:
    assert host.image(graph(**SETTINGS, **size)).shape[:2] == expected


@pytest.mark.parametrize("source", ["loaded", "of images"])
def test_a_video_is_upscaled_saved_and_played(host: Host, source: str) -> None:
    compose(host.folder / "video.nut", torch.rand(12, 48, 64, 3), Fraction(24), torch.zeros(1, 24_000))
    settings = VideoSettings(pixel_format="yuv420p")
    copy_video(host.folder / "video.nut", host.folder / "input" / "video.mp4", settings=settings, overwrite=True)
    wired = graph(upscaler="SPANUpscaleVideo", model="spanx2_ch48", codec="h264")
    del wired["image"], wired["large"]["inputs"]["image"]
    wired["loaded"] = {"class_type": "LoadVideo", "inputs": {"file": "video.mp4"}}
    wired["parts"] = {"class_type": "GetVideoComponents", "inputs": {"video": ["loaded", 0]}}
    wired["of images"] = {"class_type": "CreateVideo", "inputs": {"images": ["parts", 0], "audio": ["parts", 1], "fps": 24.0}}
    wired["large"]["inputs"]["video"] = [source, 0]
    wired["save"] = {
        "class_type": "SaveVideo",
        "inputs": {"video": ["large", 0], "filename_prefix": "video", "format": "auto", "codec": "auto"},
    }
    outputs = host.run(wired)
    shown = outputs["large"]
    assert shown["text"][0].startswith("12 x 64x48 to 128x96 in ")
    assert shown["text"][0].endswith("Written by libx264.")
    played = shown["images"][0]
    assert played["type"] == "temp"
    saved = host.folder / "output" / outputs["save"]["images"][0]["filename"]
    info = probe(saved)
    assert (info.width, info.height, info.frames, info.pixel_format, len(info.audio)) == (128, 96, 12, "yuv420p", 1)
    assert float(info.fps) == pytest.approx(24, rel=0.01)
    assert not list((host.folder / "temp").glob("SPAN_source*"))


def test_a_file_replaced_on_disk_is_loaded_again(host: Host) -> None:
    path = host.folder / "models" / "upscale_models" / "mine.safetensors"
    span_arch.save(span_arch.load("spanx4_ch48"), path)
    first = host.image(graph("mine.safetensors", **SETTINGS))
    span_arch.save(span_arch.load("spanx2_ch48"), path, overwrite=True)
    second = host.image(graph("mine.safetensors", **SETTINGS))
    assert (first.shape[0], second.shape[0]) == (256, 128)


def test_a_wrong_file_gives_a_plain_error_message(host: Host) -> None:
    (host.folder / "models" / "upscale_models" / "page.pth").write_text("<!DOCTYPE html><title>Sign in</title>")
    host.get("/object_info/LoadSPANModel")
    assert "is a web page" in host.message(graph("page.pth", **SETTINGS))


def test_cancelling_takes_under_two_seconds_and_the_next_run_works(host: Host) -> None:
    prompt = host.queue(graph(image="large.png", **SETTINGS))
    time.sleep(2)
    start = time.monotonic()
    host.post("/interrupt")
    ended = host.wait(prompt)
    assert time.monotonic() - start < 2
    assert "execution_interrupted" in dict(ended["status"]["messages"])
    assert host.image(graph(**SETTINGS)).shape == (256, 256, 3)


@pytest.mark.parametrize("loader", ["LoadSPANModel", "UpscaleModelLoader"])
def test_the_info_node_describes_models_of_both_loaders(host: Host, loader: str) -> None:
    path = host.folder / "models" / "upscale_models" / "known.safetensors"
    span_arch.save(span_arch.load("spanx4_ch48"), path, form="training", dtype=torch.float16, overwrite=True)
    inspecting = {
        "model": {"class_type": loader, "inputs": {"model_name": path.name}},
        "info": {"class_type": "SPANModelInfo", "inputs": {"upscale_model": ["model", 0]}},
        "text": {"class_type": "PreviewAny", "inputs": {"source": ["info", 0]}},
        "scale": {"class_type": "PreviewAny", "inputs": {"source": ["info", 2]}},
        "checksum": {"class_type": "PreviewAny", "inputs": {"source": ["info", 10]}},
    }
    host.get(f"/object_info/{loader}")
    texts = {name: output["text"][0] for name, output in host.run(inspecting).items()}
    info = span_arch.describe(span_arch.load(path))
    ours = loader == "LoadSPANModel"
    assert (texts["scale"], texts["checksum"]) == ("4", info.sha256 if ours else "unknown")
    assert texts["text"] == texts["info"]
    expected, found = str(info).splitlines(), texts["info"].splitlines()
    assert found == expected if ours else found[:6] == expected[:6]


def test_translations_and_help_pages_are_served(host: Host) -> None:
    translations = host.get("/i18n")
    for language in ("en", "ja", "zh"):
        own = json.loads((PACK / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))
        assert {name: translations[language]["nodeDefs"][name] for name in own} == own
    for file in (path for path in (PACK / "js" / "docs").rglob("*") if path.is_file()):
        served = host.read(f"/extensions/span-upscale/{file.relative_to(PACK / 'js').as_posix()}")
        assert served == file.read_bytes()


def test_nodes_and_inputs_have_descriptions(host: Host) -> None:
    for name in ("LoadSPANModel", "SaveSPANModel", "SPANModelInfo", "SPANUpscale"):
        info = host.get(f"/object_info/{name}")[name]
        inputs = {key: value for group in ("required", "optional") for key, value in info["input"].get(group, {}).items()}
        assert info["description"]
        assert info.get("search_aliases", True)  # absent in hosts before 0.11
        assert all(settings[1:] and settings[1].get("tooltip") for settings in inputs.values()), (name, inputs)
    assert inputs["tile_size"][1]["advanced"] is True
