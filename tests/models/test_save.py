"""Saved files reproduce their model in the programs that they are meant for."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from spandrel import ModelLoader
from spandrel.architectures.ESRGAN import ESRGAN

import span_arch
from span_arch import errors, save
from span_arch.archs.blocks import Conv3XC
from span_arch.archs.dscf import DSCF
from span_arch.archs.espan import ESPAN
from span_arch.archs.normalisation import PAPER, Normalisation
from span_arch.archs.span import SPAN
from span_arch.archs.spanf import SPANF
from span_arch.archs.spanf3 import SPANF3
from span_arch.archs.spanplus import SPANPlus
from span_arch.archs.spanv2 import SPANV2
from span_arch.checkpoints.ncnn_writer import to_ncnn
from span_arch.image_ops.metrics import quality

SMALL: dict[str, Callable[[], torch.nn.Module]] = {
    "SPAN": lambda: SPAN(feature_channels=8, blocks=3, cat_channels=5, scale=2, normalisation=None),
    "SPAN with four channels": lambda: SPAN(in_channels=4, out_channels=4, feature_channels=8, blocks=1, scale=3, normalisation=None),
    "SPANF": lambda: SPANF(feature_channels=8, blocks=3),
    "SPANF with a narrow tail": lambda: SPANF(feature_channels=8, blocks=3, cat_channels=5, ending="_1"),
    "SPANV2": lambda: SPANV2(feature_channels=8, blocks=3),
    "SPANV2 with biases": lambda: SPANV2(feature_channels=8, blocks=2, scale=3, bias=True),
    "DSCF": lambda: DSCF(feature_channels=8, blocks=3, scale=2),
    "ESPAN": lambda: ESPAN(feature_channels=8, blocks=2, scale=2),
    "SPANPlus": lambda: SPANPlus(feature_channels=8, blocks=(1, 2), upsampler="ps", scale=3),
    "SPANPlus with DySample": lambda: SPANPlus(feature_channels=8, blocks=(1,), scale=2),
    "SPANPlus at scale 1": lambda: SPANPlus(feature_channels=8, blocks=(1,), scale=1, upsampler="conv"),
    "SPANF3": lambda: SPANF3(feature_channels=8, blocks=2),
    "SPANF3 unshuffling": lambda: SPANF3(feature_channels=8, blocks=2, scale=2, unshuffle=2),
}
WITHOUT_NCNN = ("SPANPlus with DySample", "SPANF3 unshuffling")


def small(name: str) -> span_arch.FamilyModel:
    torch.manual_seed(0)
    return span_arch.from_state_dict(SMALL[name]().state_dict())


def read_image(data: Path) -> torch.Tensor:
    with Image.open(data / "Set5" / "x4" / "img_003_LR.png") as file:
        return torch.from_numpy(np.array(file.convert("RGB"), np.float32) / 255).permute(2, 0, 1)[None].contiguous()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".onnx", ".param"])
@pytest.mark.parametrize("name", SMALL)
def test_every_architecture_survives_every_container(name: str, suffix: str, tmp_path: Path) -> None:
    model, path = small(name), tmp_path / f"network{suffix}"
    if suffix == ".param" and name in WITHOUT_NCNN:
        with pytest.raises(errors.OptionError, match="does not fit an ncnn pair"):
            save(model, path)
        assert not list(tmp_path.iterdir())
        return
    save(model, path)
    again = span_arch.load(path)
    assert again.hyperparameters == model.hyperparameters
    assert again.normalisation == model.normalisation
    image = torch.rand(1, model.input_channels, 8, 12)
    torch.testing.assert_close(again.model(image), model.model(image), atol=1e-6, rtol=1e-5)
    assert sorted(file.name for file in tmp_path.iterdir()) == (["network.bin", "network.param"] if suffix == ".param" else [path.name])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("name", ["spanx4_ch52", "4xSPANkendata"])
def test_saved_networks_run_in_other_runtimes(name: str, dtype: torch.dtype, data: Path, ncnn_folder: Path, tmp_path: Path) -> None:
    onnxruntime, ncnn = pytest.importorskip("onnxruntime"), pytest.importorskip("ncnn")
    model = span_arch.load(name if name in span_arch.builtin_names() else ncnn_folder / "models" / f"{name}.param")
    image = read_image(data)
    expected = model(image)
    save(model, tmp_path / "a.onnx", dtype=dtype)
    save(model, tmp_path / "a.param", dtype=dtype)
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    (by_onnx,) = session.run(None, {"input": image.to(dtype).numpy()})
    net = ncnn.Net()
    net.opt.use_fp16_arithmetic = net.opt.use_fp16_storage = net.opt.use_fp16_packed = False
    assert (net.load_param(str(tmp_path / "a.param")), net.load_model(str(tmp_path / "a.bin"))) == (0, 0)
    extractor, pixels = net.create_extractor(), image[0].numpy()
    extractor.input("data", ncnn.Mat(pixels).clone())
    _, by_ncnn = extractor.extract("output")
    for result in (torch.from_numpy(by_onnx).float()[0], torch.from_numpy(np.array(by_ncnn))):
        assert psnr(result.clamp(0, 1), expected[0]) >= 50
    if dtype is torch.float32:
        assert np.abs(by_onnx.clip(0, 1) - expected.numpy()).max() <= 1e-4


def psnr(found: torch.Tensor, expected: torch.Tensor) -> float:
    return quality(found.permute(1, 2, 0), expected.permute(1, 2, 0), border=0).psnr


@pytest.mark.parametrize("name", ["spanx2_ch48", "spanx4_ch52", "4xSPANkendata", "ClearReality4x", "2xHFA2kSPAN_27k"])
def test_spandrel_loads_the_training_form(name: str, data: Path, ncnn_folder: Path, tmp_path: Path) -> None:
    model = span_arch.load(name if name in span_arch.builtin_names() else ncnn_folder / "models" / f"{name}.param", bounded=False)
    image = read_image(data)
    for suffix in (".safetensors", ".pth"):
        save(model, tmp_path / f"a{suffix}", form="training")
        theirs = ModelLoader().load_from_file(tmp_path / f"a{suffix}")
        assert theirs.architecture.id == "SPAN"
        if "kendata" in name:  # spandrel does not know its normalisation, so the border differs
            assert psnr(theirs(image)[0], model(image)[0]) >= 50
            torch.testing.assert_close(theirs(image)[..., 96:-96, 96:-96], model(image)[..., 96:-96, 96:-96], atol=1e-4, rtol=0)
        else:
            torch.testing.assert_close(theirs(image), model(image), atol=1e-4, rtol=0)


def test_a_file_states_its_origin(tmp_path: Path) -> None:
    model = span_arch.load("spanx2_ch48")
    save(model, tmp_path / "a.safetensors")
    save(model, tmp_path / "a.onnx")
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["source_sha256"] == model.source.sha256
    assert (metadata["architecture"], metadata["scale"], metadata["license"]) == ("SPAN", "2", "Apache-2.0")
    assert metadata["normalisation"] == "0.4488 0.4371 0.404 255"
    assert {**span_arch.load(tmp_path / "a.onnx").source.metadata, "format": "pt"} == metadata


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".param"])
def test_saving_is_reproducible(suffix: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(small("SPAN"), tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_onnx_takes_batches_of_any_size(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = small("SPANF3 unshuffling")
    save(model, tmp_path / "a.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    for shape in ((1, 3, 7, 9), (3, 3, 16, 2), (1, 3, 65, 33)):
        image = torch.rand(shape)
        (result,) = session.run(None, {"input": image.numpy()})
        torch.testing.assert_close(torch.from_numpy(result).clamp(0, 1), model(image), atol=1e-5, rtol=0)


def test_an_ncnn_graph_reads_each_blob_once_and_has_upscayls_names() -> None:
    text, _ = to_ncnn(small("SPAN").model, torch.float16)
    magic, counts, *layers = [line.split() for line in text.splitlines()]
    assert magic == ["7767517"]
    read = [blob for layer in layers for blob in layer[4 : 4 + int(layer[2])]]
    written = [blob for layer in layers for blob in layer[4 + int(layer[2]) : 4 + int(layer[2]) + int(layer[3])]]
    assert len(set(read)) == len(read)
    assert set(written) - set(read) == {"output"}
    assert [int(count) for count in counts] == [len(layers), len(written)]
    assert (layers[0][0], written[0]) == ("Input", "data")


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "suffix": ({}, "a.bin", r"'\.bin' of .*a\.bin is unknown\. Expected \.safetensors"),
    "form": ({"form": "slim"}, "a.pth", "'slim' is unknown"),
    "form of a graph": ({"form": "training"}, "a.onnx", r"\.onnx file cannot hold a training form"),
    "type in ncnn": ({"dtype": torch.bfloat16}, "a.param", "not as bfloat16"),
    "type in ONNX": ({"dtype": torch.bfloat16}, "a.onnx", "not as bfloat16"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_invalid_option_is_reported_and_leaves_no_file(name: str, tmp_path: Path) -> None:
    options, file, words = BAD[name]
    with pytest.raises(errors.OptionError, match=words):
        save(small("SPAN"), tmp_path / file, **options)
    assert not list(tmp_path.iterdir())


def test_a_network_outside_the_family_has_no_other_containers(tmp_path: Path) -> None:
    other = ModelLoader().load_from_state_dict(ESRGAN(in_nc=3, out_nc=3, num_filters=8, num_blocks=1).state_dict())
    with pytest.raises(errors.OptionError, match="ESRGAN"):
        save(other, tmp_path / "a.onnx")


def test_a_model_from_another_loader_is_fused_and_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = ModelLoader().load_from_state_dict(SPAN(feature_channels=8, scale=2, conv=Conv3XC).state_dict())
    save(theirs, tmp_path / "a.safetensors")
    again = span_arch.load(tmp_path / "a.safetensors")
    assert (again.source.form, again.normalisation) == ("fused", PAPER)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".onnx", ".param"])
def test_a_file_that_does_not_reproduce_its_model_is_discarded(suffix: str, tmp_path: Path) -> None:
    model = small("SPAN")
    model.model.register_forward_hook(lambda module, images, result: None if torch.compiler.is_exporting() else result + 0.01)
    (tmp_path / f"a{suffix}").write_text("mine")
    with pytest.raises(errors.VerificationError, match=r"another image in \w+"):
        save(model, tmp_path / f"a{suffix}", overwrite=True)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [(f"a{suffix}", "mine")]


@pytest.mark.parametrize(("package", "file"), [("onnx", "a.onnx"), ("onnxruntime", "a.onnx"), ("ncnn", "a.param")])
def test_a_missing_package_is_reported(package: str, file: str, tmp_path: Path, hide_package: Callable[[str], None]) -> None:
    hide_package(package)
    with pytest.raises(errors.MissingExtraError, match=rf"package {package} is not installed.*pip install"):
        save(small("SPAN"), tmp_path / file)
    assert not list(tmp_path.iterdir())


def test_reading_onnx_without_its_package_is_an_error(tmp_path: Path, hide_package: Callable[[str], None]) -> None:
    (tmp_path / "a.onnx").write_bytes(b"\x08\x08")
    hide_package("onnx")
    with pytest.raises(errors.MissingExtraError, match=r"onnx is not installed\. It is needed to read the ONNX file"):
        span_arch.load(tmp_path / "a.onnx")


def test_custom_normalisations_survive_saving(tmp_path: Path) -> None:
    custom = Normalisation((0.25, 0.5, 0.125), 2.0)
    model = span_arch.load("spanx2_ch48", normalise=custom)
    for suffix in (".safetensors", ".onnx", ".param"):
        save(model, tmp_path / f"a{suffix}")
        assert span_arch.load(tmp_path / f"a{suffix}").normalisation == custom


def test_the_largest_network_loads_within_seven_tenths_of_a_second(tmp_path: Path) -> None:
    save(span_arch.load("spanx4_ch52"), tmp_path / "a.pth", form="training")  # 10 MB of branches, a normalisation and limits to measure

    def seconds() -> float:
        start = time.thread_time()  # the time that others take on a busy machine does not count
        span_arch.load(tmp_path / "a.pth")
        return time.thread_time() - start

    assert min(seconds() for _ in range(5)) < 0.7
