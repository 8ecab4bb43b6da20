"""The types that ``auto`` chooses, and what they cost."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from spandrel.architectures.Compact import CompactArch

import span_arch
from span_arch import Context, Settings, errors, upscale
from span_arch.engine.context import Probes
from span_arch.engine.precision import FLOAT32, Arithmetic, arithmetic_for, multiplies_bfloat16
from span_arch.engine.prepared_plan import plan_for
from span_arch.image_files import read_image
from span_arch.image_ops.metrics import quality
from span_arch.models.build import Model
from span_arch.models.model_files import builtin_names
from span_arch.streaming.operations import Cast, Convolution

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
MIXED = Arithmetic(torch.float32, mixed=True)


def chosen(precision: str, model: Model, device: torch.device, *, bfloat16: bool = True, half: bool = True) -> Arithmetic:
    return arithmetic_for(precision, model, device, lambda: bfloat16, lambda device: half)


def mean_psnr(model: Model, folder: Path, precision: str) -> float:
    """Return the mean PSNR of a benchmark on a CPU that multiplies bfloat16."""
    context = Context(probes=Probes(multiplies_bfloat16=lambda: True))
    values: list[float] = []
    for small in sorted(folder.glob("*_LR.png")):
        original = read_image(small.with_name(small.name.replace("_LR", "_HR"))).image[0]
        result = upscale(model, read_image(small).image, Settings(precision=precision), context)[0]
        values.append(quality(result, original[: result.shape[0], : result.shape[1]], border=model.scale).psnr)
    return sum(values) / len(values)


@pytest.mark.parametrize("name", builtin_names())
def test_auto_costs_at_most_a_hundredth_of_a_decibel(name: str, data: Path) -> None:
    model = span_arch.load(name)
    assert chosen("auto", model, CPU) == MIXED
    full, auto = (mean_psnr(model, data / "Set5" / f"x{model.scale}", precision) for precision in ("float32", "auto"))
    assert 0 < abs(full - auto) <= 0.01


def test_only_auto_mixes_types_and_only_for_the_family_on_a_cpu() -> None:
    model = span_arch.load("spanx2_ch48")
    assert chosen("auto", model, CPU, bfloat16=False) == FLOAT32
    assert chosen("auto", model, CUDA) == Arithmetic(torch.float16)
    assert chosen("auto", model, CUDA, half=False) == FLOAT32
    for name in ("float32", "float16", "bfloat16"):
        assert chosen(name, model, CPU) == Arithmetic(getattr(torch, name))
    state = {"body.0.weight": torch.rand(8, 3, 3, 3), "body.0.bias": torch.rand(8), "body.1.weight": torch.rand(8)}
    state |= {"body.2.weight": torch.rand(12, 8, 3, 3), "body.2.bias": torch.rand(12)}
    for device in (CPU, CUDA):
        assert chosen("auto", CompactArch().load(state), device) == FLOAT32


def test_unknown_precision_is_refused() -> None:
    with pytest.raises(errors.OptionError, match="'float8' is unknown"):
        Settings(precision="float8")


def test_cpu_without_bfloat16_instructions_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    for capabilities in ({}, {"avx512_bf16": False, "avx2": True}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=capabilities: MappingProxyType(found), raising=False)
        assert not multiplies_bfloat16()


def test_torch_that_does_not_report_its_instructions_counts_as_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert not multiplies_bfloat16()


def test_first_and_last_convolutions_and_the_residual_stream_stay_in_float32() -> None:
    plan = plan_for(span_arch.load("spanx4_ch48"), mixed=True)
    assert plan is not None
    narrow = [value.narrow for value in plan.values if isinstance(value.operation, Convolution)]
    # conv_1; three of each of six blocks, and conv_2; conv_cat; the upsampler
    assert narrow == [False, *[True] * 19, False, False]
    casts = sum(value.narrow for value in plan.values if isinstance(value.operation, Cast))
    assert casts == 8  # conv_1, the blocks, and the middle of the last
