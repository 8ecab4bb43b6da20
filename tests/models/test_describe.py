"""The facts that `describe` returns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from spandrel import ModelLoader
from spandrel.architectures.Compact import Compact
from spandrel.architectures.DAT import DAT
from spandrel.architectures.SPAN import SPAN as SpandrelSPAN

import span_arch
from span_arch import describe, errors
from span_arch.archs.spanplus import SPANPlus
from span_arch.models.catalogue import WEIGHTS


def test_every_fact_is_known_for_a_loaded_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = SPANPlus(feature_channels=8, blocks=(1, 2), upsampler="ps", scale=3)
    span_arch.save(span_arch.from_state_dict(network.state_dict()), tmp_path / "a.safetensors", form="training", dtype=torch.float16)
    model = span_arch.load(tmp_path / "a.safetensors")
    info = describe(model)
    assert (info.architecture, info.scale, info.feature_channels, info.blocks) == ("SPANPlus", 3, 8, "1+2")
    assert info.parameters == sum(weights.numel() for weights in model.model.parameters())
    assert info.receptive_field == 51
    assert (info.normalisation, info.precision, info.sha256) == ("none", "float16", model.source.sha256)
    assert info.more == {"activations": "bounded", "container": "safetensors", "form in the file": "training"}
    lines = str(info).splitlines()
    assert lines[:2] == ["architecture:     SPANPlus", "scale:            x3"]
    assert "receptive field:  51x51 pixels" in lines
    assert f"normalisation:    none ({info.normalisation_known})" in lines


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth", "a.onnx", "a.param"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_precision_is_that_of_the_file(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    for package in {"a.onnx": ["onnx", "onnxscript", "onnxruntime"], "a.param": ["ncnn"]}.get(name, []):
        pytest.importorskip(package)
    span_arch.save(span_arch.load("spanx2_ch48"), tmp_path / name, dtype=dtype)
    assert describe(span_arch.load(tmp_path / name)).precision == str(dtype).removeprefix("torch.")


def test_a_span_from_another_loader_is_described_as_one_of_ours() -> None:
    torch.manual_seed(0)
    theirs = ModelLoader().load_from_state_dict(SpandrelSPAN(num_in_ch=3, num_out_ch=3, upscale=2).state_dict())
    theirs.model.half()
    before = {key: value.clone() for key, value in theirs.model.state_dict().items()}
    info = describe(theirs)
    assert (info.architecture, info.blocks, info.receptive_field) == ("SPAN", "6", 43)
    assert (info.normalisation, info.normalisation_known) == ("(x - (0.4488, 0.4371, 0.404)) * 255", "set by the other loader")
    assert (info.precision, info.sha256) == ("float16", "unknown")
    assert "unknown" not in str(info)
    assert all(torch.equal(value, before[key]) for key, value in theirs.model.state_dict().items())


def test_a_known_file_is_recognised_by_its_content_alone(tmp_path: Path) -> None:
    content = bytearray((WEIGHTS / "spanx4_ch52.safetensors").read_bytes())
    (tmp_path / "renamed.safetensors").write_bytes(content)
    info = describe(span_arch.load(tmp_path / "renamed.safetensors"))
    assert (info.more["known as"], info.more["licence"]) == ("spanx4_ch52", "Apache-2.0")
    assert "known as:         spanx4_ch52" in str(info).splitlines()
    content[-1000] ^= 1  # the least bit of a weight
    (tmp_path / "spanx4_ch52.safetensors").write_bytes(content)
    assert "known as" not in describe(span_arch.load(tmp_path / "spanx4_ch52.safetensors")).more


def test_known_facts_of_another_architecture() -> None:
    compact = ModelLoader().load_from_state_dict(Compact(num_feat=8, num_conv=2, upscale=2).state_dict())
    assert str(describe(compact)).splitlines() == [
        "architecture:    RealESRGAN Compact",
        "scale:           x2",
        "image channels:  3",
        f"parameters:      {sum(weights.numel() for weights in compact.model.parameters()):,}",
        "receptive field: 9x9 pixels",
        "precision:       float32",
        "tags:            8nf, 2nc",
    ]


@pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")
def test_an_infinite_receptive_field_is_reported() -> None:
    network = DAT(img_size=8, embed_dim=32, depth=[1], num_heads=[2], split_size=[2, 4])
    info = describe(ModelLoader().load_from_state_dict(network.state_dict()))
    assert (info.receptive_field, info.feature_channels, info.blocks) == (0, 0, "unknown")
    assert "receptive field: infinite or unknown" in str(info)


def test_faulty_weights_are_an_error() -> None:
    theirs = ModelLoader().load_from_state_dict(SpandrelSPAN(num_in_ch=3, num_out_ch=3, upscale=2).state_dict())
    torch.nn.init.constant_(next(theirs.model.parameters()), torch.nan)
    with pytest.raises(errors.WeightsError, match="NaN"):
        describe(theirs)
