"""Limits on activations: measured, stored in files, and read again."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import span_arch
from span_arch import FamilyModel, errors, save
from span_arch.archs.bounds import bounds_of, limits_of, limits_text, parse_limits
from span_arch.archs.span import SPAN
from span_arch.models.calibration import calibrate, calibration_images

from ..samples import small_model
from ..variants import Variant, every_variant


def family(path: Path, *, bounded: bool = True) -> FamilyModel:
    model = span_arch.load(path, bounded=bounded)
    assert isinstance(model, FamilyModel)
    return model


def assert_same(found: FamilyModel, expected: FamilyModel) -> None:
    assert found.limits is not None
    assert expected.limits is not None
    assert found.limits.keys() == expected.limits.keys()
    for path, sides in expected.limits.items():
        assert all(torch.equal(a, b) for a, b in zip(found.limits[path], sides, strict=True))


@every_variant
def test_every_architecture_is_bounded_after_each_attention_block(variant: Variant) -> None:
    model = span_arch.from_state_dict(variant.network().state_dict())
    assert (model.limits or {}).keys() == bounds_of(model.model).keys()  # networks of a single block may have no attention
    images = calibration_images(model.input_channels)
    with torch.no_grad():
        bounded = model.model(images)
        model.bound(None)  # measures again, on the unbounded network
        assert torch.equal(model.model(images), bounded)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_calibration_images_have_the_channels_of_the_network(channels: int) -> None:
    images = calibration_images(channels)
    assert images.shape == (14, channels, 48, 48)
    assert images.min() >= 0
    assert images.max() <= 1


def test_values_within_the_measured_range_pass_unchanged() -> None:
    model = small_model()
    raw = span_arch.from_state_dict(model.model.state_dict(), bounded=False)
    images = calibration_images()
    with torch.no_grad():
        assert torch.equal(model.model(images), raw.model(images))


def test_calibration_is_quick() -> None:
    network = SPAN(feature_channels=48)
    calibrate(network, 3)
    start = time.thread_time()
    calibrate(network, 3)
    assert time.thread_time() - start < 0.5  # on one thread; 0.15 s on two quiet cores


def test_weights_that_overflow_load_without_bounds_and_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    state = {key: tensor * 1e12 for key, tensor in small_model().model.state_dict().items()}
    model = span_arch.from_state_dict(state)
    assert model.limits is None
    assert "overflow" in caplog.text
    assert span_arch.describe(model).more == {"activations": "not bounded"}


@pytest.mark.parametrize("suffix", [".safetensors", ".onnx", ".param"])
def test_files_hold_the_limits(suffix: str, tmp_path: Path) -> None:
    model = small_model()
    assert model.limits is not None
    changed = {path: (low * 0.5, high * 0.5) for path, (low, high) in model.limits.items()}
    model.bound(changed)  # others than would be measured
    save(model, tmp_path / f"a{suffix}")
    assert_same(family(tmp_path / f"a{suffix}"), model)
    assert family(tmp_path / f"a{suffix}", bounded=False).limits is None


def test_saving_an_unbounded_model_keeps_it_unbounded_in_the_file(tmp_path: Path) -> None:
    save(small_model(), tmp_path / "a.safetensors")
    save(family(tmp_path / "a.safetensors", bounded=False), tmp_path / "b.onnx")
    onnx = pytest.importorskip("onnx")
    nodes = {node.op_type for node in onnx.load(tmp_path / "b.onnx").graph.node}
    assert nodes.isdisjoint({"Max", "Min", "Clip"})


def test_pth_files_are_measured_at_every_load(tmp_path: Path) -> None:
    model = small_model()
    save(model, tmp_path / "a.pth")
    assert_same(family(tmp_path / "a.pth"), model)


def test_an_onnx_graph_that_clips_to_numbers_is_read_with_its_bounds(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = small_model()
    save(model, tmp_path / "a.onnx")
    proto = onnx.load(tmp_path / "a.onnx")
    kept = []
    for node in proto.graph.node:  # a maximum and a minimum become one operation
        if node.op_type == "Max":
            source = node.input[0]
        elif node.op_type == "Min":
            kept.append(onnx.helper.make_node("Clip", [source, "low", "high"], node.output, node.name))
        else:
            kept.append(node)
    kept.append(onnx.helper.make_node("Clip", [proto.graph.output[0].name, "zero", "one"], ["clipped"], "last"))
    proto.graph.output[0].name = "clipped"
    for name, value in {"low": -0.25, "high": 0.5, "zero": 0, "one": 1}.items():
        proto.graph.initializer.append(onnx.helper.make_tensor(name, 1, [], [value]))
    del proto.graph.node[:], proto.metadata_props[:]
    proto.graph.node.extend(kept)
    onnx.save(proto, tmp_path / "b.onnx")
    limits = family(tmp_path / "b.onnx").limits
    assert limits is not None
    assert {tuple(sorted({*low.tolist(), *high.tolist()})) for low, high in limits.values()} == {(-0.25, 0.5)}


def test_other_programs_load_a_file_with_limits(tmp_path: Path) -> None:
    from spandrel import ModelLoader

    save(span_arch.load("spanx2_ch48"), tmp_path / "a.safetensors", form="training")
    assert ModelLoader().load_from_file(tmp_path / "a.safetensors").architecture.id == "SPAN"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", '{"block_1.bound": 1}', '{"block_1.bound": [[1], [2]]}', '{"block_1.bound": [["a"], ["b"]]}', "[" * 9999],
    ids=lambda text: text[:20],
)
def test_damaged_limits_are_an_error(text: str, tmp_path: Path) -> None:
    save_file(small_model().model.state_dict(), tmp_path / "a.safetensors", {"normalisation": "none", "activation_limits": text})
    with pytest.raises(errors.CheckpointError, match="limits"):
        span_arch.load(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    "change", [lambda low, high: (high + 1, low), lambda low, high: (low * torch.nan, high), lambda low, high: (low[1:], high)]
)
def test_impossible_limits_are_an_error(change: object, tmp_path: Path) -> None:
    assert callable(change)
    model = small_model()
    assert model.limits is not None
    wrong = {path: change(*sides) for path, sides in model.limits.items()}
    with pytest.raises(errors.WeightsError, match="limits of block_1"):
        model.bound(wrong)


def test_limits_survive_their_text() -> None:
    limits = small_model().limits
    assert limits is not None
    found = parse_limits(limits_text(limits))
    assert json.loads(limits_text(limits)).keys() == found.keys()
    flat: list[tuple[Tensor, Tensor]] = [pair for path in limits for pair in zip(found[path], limits[path], strict=True)]
    assert all(torch.equal(a, b) for a, b in flat)


def test_the_limits_of_built_in_networks_are_in_their_files() -> None:
    for name in span_arch.builtin_names():
        model = span_arch.load(name)
        assert isinstance(model, FamilyModel)
        assert model.source is not None
        assert "activation_limits" in model.source.metadata
        assert limits_of(model.model) is not None
