"""SPAN compared with its authors' weights, reference results and benchmark figures, and its re-parameterisation."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from spandrel import ModelLoader
from torch import Tensor

import span_arch
from span_arch.archs.blocks import Conv3XC
from span_arch.archs.normalisation import PAPER, Normalisation
from span_arch.archs.reparam import fuse, unfuse
from span_arch.archs.span import SPAN
from span_arch.cli.evaluate_command import evaluate, mean
from span_arch.errors import WeightsError
from span_arch.image_ops.metrics import quality

ROOT = Path(__file__).parents[2]


def read_image(path: Path) -> Tensor:
    """Return a PNG as (1, H, W, 3) in 0..1."""
    with Image.open(path) as file:
        return torch.from_numpy(np.array(file.convert("RGB")))[None] / 255


@pytest.mark.parametrize("side", [16, 32, 64])
def test_the_official_network_reproduces_the_golden_images(data: Path, side: int) -> None:
    golden = read_image(data / "golden" / f"{side}x{side}_spanx4_ch48.png") * 255
    result = span_arch.upscale(
        span_arch.load("spanx4_ch48"), read_image(data / "golden" / f"{side}x{side}.png"), span_arch.Settings(precision="float32")
    )
    error = float((result.mul(255).round() - golden).double().square().mean())
    assert 10 * np.log10(255**2 / error) >= 55


def test_the_challenge_winner_reproduces_its_authors_result(data: Path) -> None:
    reference = torch.from_numpy(np.load(data / "reference" / "span_ntire2024_ch28.npy")).clamp(0, 1)
    model = span_arch.load(data / "checkpoints" / "span_ntire2024_ch28.pth", bounded=False)
    result = span_arch.upscale(model, read_image(data / "Set5" / "x4" / "img_003_LR.png"), span_arch.Settings(precision="float32"))[0]
    torch.testing.assert_close(result, reference, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("name", "benchmark", "psnr", "ssim"),
    [
        ("spanx4_ch48", "Set5/x4", 32.20, 0.8952),
        ("spanx4_ch48", "Set14/x4", 28.65, 0.7827),
        ("spanx4_ch52", "Set5/x4", 32.20, 0.8952),
        ("spanx4_ch52", "Set14/x4", 28.66, 0.7832),
        ("spanx2_ch48", "Set5/x2", 38.07, 0.9607),
    ],
)
def test_published_benchmark_figures_are_reached(data: Path, name: str, benchmark: str, psnr: float, ssim: float) -> None:
    figures = mean(evaluate(span_arch.load(name), data / benchmark, span_arch.Settings(precision="float32")).values())
    assert figures.psnr == pytest.approx(psnr, abs=0.01)
    assert figures.ssim == pytest.approx(ssim, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "set5", "set14"),
    [
        ("span_ntire2024_ch28", 31.75, 28.41),
        ("spanf_ntire2025", 31.77, 28.37),
        ("espan_ntire2025", 31.94, 28.52),
        ("spanv2_ntire2026", 31.770, 28.385),
        ("pds_ntire2026", 31.760, 28.366),
    ],
)
def test_challenge_figures_are_reached(data: Path, name: str, set5: float, set14: float) -> None:
    model = span_arch.load(data / "checkpoints" / f"{name}.pth")
    for benchmark, psnr in (("Set5/x4", set5), ("Set14/x4", set14)):
        assert mean(evaluate(model, data / benchmark, span_arch.Settings(precision="float32")).values()).psnr == pytest.approx(
            psnr, abs=0.01
        )


@pytest.mark.parametrize(
    "name",
    [
        "spanx2_ch48",
        "spanx2_ch52",
        "spanx4_ch48",
        "spanx4_ch52",
        "2xHFA2kSPAN_27k",
        "2x_span_anime_pretrain",
        "4xSPANkendata",
        "ClearReality4x",
    ],
)
def test_an_ncnn_network_equals_ncnns_result(name: str, data: Path, ncnn_folder: Path) -> None:
    ncnn = pytest.importorskip("ncnn")
    path = next(ncnn_folder.glob(f"*models/{name}.param"))
    net = ncnn.Net()
    net.opt.use_vulkan_compute = net.opt.use_fp16_arithmetic = net.opt.use_fp16_storage = net.opt.use_fp16_packed = False
    assert (net.load_param(str(path)), net.load_model(str(path.with_suffix(".bin")))) == (0, 0)
    image = read_image(data / "Set5" / "x4" / "img_003_LR.png")
    pixels = image[0].permute(2, 0, 1).contiguous().numpy()  # a name keeps the memory alive, because ncnn only refers to it
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(pixels).clone())
    _, result = extractor.extract("output")
    expected = torch.from_numpy(np.array(result)).permute(1, 2, 0).clamp(0, 1)
    found = span_arch.upscale(span_arch.load(path), image, span_arch.Settings(precision="float32"))[0]
    assert quality(found, expected, border=0).psnr >= 50


def test_the_built_in_networks_are_reproducible(ncnn_folder: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "make_builtin_weights.py", tmp_path], check=True, capture_output=True)
    for name in span_arch.builtin_names():
        made, kept = tmp_path / f"{name}.safetensors", ROOT / "span_arch" / "weights" / f"{name}.safetensors"
        assert made.read_bytes() == kept.read_bytes()
        assert kept.stat().st_size < 2**20


@pytest.mark.parametrize("name", ["spanx2_ch48", "spanx2_ch52", "spanx4_ch48", "spanx4_ch52"])
def test_the_built_in_networks_state_their_origin(name: str) -> None:
    path = ROOT / "span_arch" / "weights" / f"{name}.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        assert {str(file.get_slice(key).get_dtype()) for key in file.keys()} == {"F16"}  # noqa: SIM118 - not a mapping
    assert metadata["license"] == "Apache-2.0"
    assert "Wan" in metadata["authors"]
    assert metadata["source_sha256"] in (ROOT / "NOTICE").read_text()
    assert span_arch.load(name).source.sha256 in (ROOT / "NOTICE").read_text()


def test_ncnn_networks_load_with_the_normalisation_of_their_graph(ncnn_folder: Path) -> None:
    pairs = sorted({path.stem: path for path in ncnn_folder.glob("*models/*.param")}.values())
    assert len(pairs) == 8
    kendata = Normalisation((0.485, 0.456, 0.406), 1.0)
    for path in pairs:
        model = span_arch.load(path)
        assert model.normalisation == (kendata if "kendata" in path.stem else PAPER)
        assert model.scale == (2 if path.stem.startswith(("2x", "spanx2")) else 4)


def training_network(seed: int = 0, **hyperparameters: object) -> SPAN:
    torch.manual_seed(seed)
    return SPAN(conv=Conv3XC, **hyperparameters).eval()


@pytest.mark.parametrize("normalisation", [PAPER, None], ids=["normalised", "no_norm"])
def test_a_file_in_training_form_loads_in_spandrel(tmp_path: Path, normalisation: Normalisation | None) -> None:
    model = span_arch.from_state_dict(
        training_network(feature_channels=8, scale=2, normalisation=normalisation).state_dict(), bounded=False
    )
    image = torch.rand(1, 3, 17, 23)
    for suffix in (".safetensors", ".pth"):
        span_arch.save(model, tmp_path / f"network{suffix}", form="training")
        theirs = ModelLoader().load_from_file(tmp_path / f"network{suffix}")
        torch.testing.assert_close(theirs(image), model(image), atol=1e-4, rtol=0)


def test_unfusing_is_exact() -> None:
    state = span_arch.load("spanx2_ch48").model.state_dict()
    again = fuse(unfuse(state))
    assert again.keys() == state.keys()
    assert all(torch.equal(again[key], state[key]) for key in state)


def test_a_stale_eval_conv_is_ignored() -> None:
    network = training_network(feature_channels=4)
    stale = {key: torch.full_like(t, 7.0) if ".eval_conv." in key else t.clone() for key, t in network.state_dict().items()}
    before = {key: tensor.clone() for key, tensor in stale.items()}
    image = torch.rand(1, 3, 12, 9)
    with torch.no_grad():
        torch.testing.assert_close(span_arch.from_state_dict(stale).model(image), network(image), atol=1e-4, rtol=1e-4)
    assert all(torch.equal(stale[key], before[key]) for key in stale)


def test_half_precision_branches_are_merged_in_float32() -> None:
    state = {key: tensor.half() for key, tensor in training_network(feature_channels=4).state_dict().items()}
    assert fuse(state)["conv_1.eval_conv.weight"].dtype is torch.float32


@pytest.mark.parametrize("missing", ["sk.weight", "sk.bias", "conv.0.bias", "conv.1.weight", "conv.2.weight"])
def test_a_missing_branch_is_reported(missing: str) -> None:
    state = training_network(feature_channels=4).state_dict()
    del state[f"block_2.c1_r.{missing}"]
    with pytest.raises(WeightsError, match=rf"block_2\.c1_r\.{missing}"):
        span_arch.from_state_dict(state)


def test_branches_that_do_not_fit_are_reported() -> None:
    state = training_network(feature_channels=4).state_dict()
    state["conv_2.conv.1.weight"] = torch.zeros(8, 7, 3, 3)
    with pytest.raises(WeightsError, match="branches of the convolution conv_2 do not fit"):
        span_arch.from_state_dict(state)


def test_metadata_survives_saving(tmp_path: Path) -> None:
    span_arch.save(span_arch.load("spanx4_ch52"), tmp_path / "again.safetensors")
    model = span_arch.load(tmp_path / "again.safetensors")
    assert json.dumps(dict(model.source.metadata)).count("Apache-2.0") == 1
    assert model.normalisation == PAPER
