"""Bounds on activations: no image makes a network explode, and natural images stay as they are."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import span_arch
from span_arch import Context, Settings, upscale
from span_arch.archs.bounds import limits_of, set_limits
from span_arch.engine.context import Probes
from span_arch.image_files import read_image
from span_arch.image_ops.metrics import quality
from span_arch.models.model_files import builtin_names

from ..patterns import PATTERNS_OF_ONE_PIXEL, patterns

CHECKPOINTS = ("espan_ntire2025", "pds_ntire2026", "span_ntire2024_ch28", "spanf_ntire2025", "spanv2_ntire2026")


def mixed() -> Context:
    """Return the context of a CPU that multiplies bfloat16."""
    return Context(probes=Probes(multiplies_bfloat16=lambda: True))


def psnr(found: Tensor, expected: Tensor) -> float:
    return -10 * torch.log10((found - expected).double().square().mean().clamp_min(1e-12)).item()


def raw(model: span_arch.FamilyModel, image: Tensor) -> Tensor:
    with torch.no_grad():
        return model.model(image.movedim(-1, 1))


def load(name: str, data: Path, *, bounded: bool = True) -> span_arch.FamilyModel:
    path = name if name in builtin_names() else data / "checkpoints" / f"{name}.pth"
    model = span_arch.load(path, bounded=bounded)
    assert isinstance(model, span_arch.FamilyModel)
    return model


@pytest.mark.parametrize("name", [*builtin_names(), *CHECKPOINTS])
def test_no_pattern_leaves_the_range_of_images_by_far(name: str, data: Path) -> None:
    model = load(name, data)
    assert all(raw(model, image).abs().max() < 8 for image in patterns(data).values())


@pytest.mark.parametrize("name", builtin_names())
def test_without_bounds_patterns_explode(name: str, data: Path) -> None:
    model = load(name, data, bounded=False)
    assert limits_of(model.model) is None
    assert raw(model, patterns(data)["checkerboard"]).abs().max() > 300


@pytest.mark.parametrize("name", builtin_names())
def test_text_is_readable(name: str, data: Path) -> None:
    model, text = load(name, data), patterns(data)["aliased text"]
    back = F.avg_pool2d(upscale(model, text).movedim(-1, 1), model.scale).movedim(1, -1)
    assert (back - text).abs().mean() < 0.06  # 0.15 and more without bounds


@pytest.mark.parametrize("name", builtin_names())
@pytest.mark.parametrize("benchmark", ["Set5", "Set14"])
def test_natural_images_stay_as_they_are(name: str, benchmark: str, data: Path) -> None:
    bounded, free = load(name, data), load(name, data, bounded=False)
    changes: list[float] = []
    for small in sorted((data / benchmark / f"x{bounded.scale}").glob("*_LR.png")):
        image, original = (read_image(small.with_name(small.name.replace("LR", kind))).image for kind in ("LR", "HR"))
        results = [raw(model, image).clamp(0, 1)[0].movedim(0, -1) for model in (bounded, free)]
        assert psnr(*results) >= 50
        original = original[0, : results[0].shape[0], : results[0].shape[1]].expand_as(results[0])  # one of Set14 is grey
        with_bounds, without = (quality(result, original, border=bounded.scale).psnr for result in results)
        changes.append(with_bounds - without)
    assert abs(sum(changes) / len(changes)) <= 0.002


@pytest.mark.parametrize("name", builtin_names())
def test_auto_agrees_with_float32_on_every_pattern(name: str, data: Path) -> None:
    model = load(name, data)
    for pattern, image in patterns(data).items():
        found, exact = (upscale(model, image, Settings(precision=precision), mixed()) for precision in ("auto", "float32"))
        assert psnr(found, exact) >= (28 if pattern in PATTERNS_OF_ONE_PIXEL else 40), pattern


@pytest.mark.parametrize("name", builtin_names())
def test_float16_stays_finite_on_every_pattern(name: str, data: Path) -> None:
    half = copy.deepcopy(load(name, data).model).half()
    with torch.no_grad():
        assert all(half(image.movedim(-1, 1).half()).isfinite().all() for image in patterns(data).values())


def test_text_in_a_photograph_is_computed_in_float32(data: Path) -> None:
    model, photograph = load("spanx4_ch48", data), read_image(data / "Set14" / "x4" / "img_001_LR.png").image[:, :96, :120].contiguous()
    written = photograph.clone()
    written[:, 30:60, 10:100] = patterns(data)["aliased text"][:, :30, 10:100]
    reports: list[span_arch.Report] = []
    for image in (photograph, written):
        upscale(model, image, Settings(precision="auto"), replace(mixed(), report=reports.append))
    assert [report.recovered.saturated for report in reports] == [0, 1]
    assert ["took float32" in str(report) for report in reports] == [False, True]


@pytest.mark.parametrize("settings", [Settings(), Settings(tile=32), Settings(seamless="xy"), Settings(ensemble=True)], ids=str)
def test_every_way_of_upscaling_has_the_same_bounds(settings: Settings, data: Path) -> None:
    text, model = patterns(data)["aliased text"], load("spanx2_ch48", data)
    result = upscale(model, text, replace(settings, precision="float32"))
    back = F.avg_pool2d(result.movedim(-1, 1), model.scale).movedim(1, -1)
    assert (back - text).abs().mean() < 0.06  # 0.15 and more without bounds


def test_networks_of_other_loaders_are_bounded(data: Path, tmp_path: Path) -> None:
    from spandrel import ModelLoader

    span_arch.save(load("spanx2_ch48", data), tmp_path / "a.safetensors", form="training")
    theirs, text = ModelLoader().load_from_file(tmp_path / "a.safetensors"), patterns(data)["aliased text"]
    assert psnr(upscale(theirs, text), upscale(load("spanx2_ch48", data), text)) >= 40


def test_limits_can_be_set_and_removed(data: Path) -> None:
    model, image = load("spanx2_ch48", data), patterns(data)["checkerboard"]
    limits, bounded = limits_of(model.model), raw(model, image)
    set_limits(model.model, None)
    assert raw(model, image).abs().max() > 300
    set_limits(model.model, limits)
    assert torch.equal(raw(model, image), bounded)
