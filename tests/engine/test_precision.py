"""What `auto` chooses, and what that costs."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from spandrel.architectures.Compact import CompactArch

import span_arch
from span_arch.cli.evaluate_command import evaluate, mean
from span_arch.engine import precision
from span_arch.engine.precision import dtype_for, mixes_bfloat16
from span_arch.engine.prepared_plan import plan_for
from span_arch.models.load import builtin_names
from span_arch.streaming.operations import Cast, Convolution

CPU = torch.device("cpu")


@pytest.fixture
def bfloat16_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu_multiplies_bfloat16", lambda: True)


@pytest.mark.usefixtures("bfloat16_cpu")
@pytest.mark.parametrize("name", builtin_names())
def test_auto_costs_at_most_a_hundredth_of_a_decibel(name: str, data: Path) -> None:
    model = span_arch.load(name)
    assert mixes_bfloat16("auto", model, CPU)
    full, auto = (mean(evaluate(model, data / "Set5" / f"x{model.scale}", span_arch.Settings(precision=p)).values()).psnr for p in ("float32", "auto"))
    assert 0 < abs(full - auto) <= 0.01


@pytest.mark.usefixtures("bfloat16_cpu")
def test_bfloat16_is_mixed_in_by_auto_alone_and_for_the_family_on_a_cpu() -> None:
    model = span_arch.load("spanx2_ch48")
    assert dtype_for("auto", model, CPU) is torch.float32
    assert not any(mixes_bfloat16(named, model, CPU) for named in ("float32", "float16", "bfloat16"))
    assert not mixes_bfloat16("auto", model, torch.device("cuda"))
    state = {"body.0.weight": torch.rand(8, 3, 3, 3), "body.0.bias": torch.rand(8), "body.1.weight": torch.rand(8)}
    state |= {"body.2.weight": torch.rand(12, 8, 3, 3), "body.2.bias": torch.rand(12)}
    assert not mixes_bfloat16("auto", CompactArch().load(state), CPU)


def test_a_cpu_without_instructions_for_it_stays_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    model = span_arch.load("spanx2_ch48")
    for capabilities in ({}, {"avx512_bf16": False, "avx2": True}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=capabilities: MappingProxyType(found), raising=False)
        assert not mixes_bfloat16("auto", model, CPU)


def test_a_torch_that_does_not_tell_stays_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert not mixes_bfloat16("auto", span_arch.load("spanx2_ch48"), CPU)


def test_the_first_and_last_convolutions_and_the_residual_stream_are_in_float32() -> None:
    made = plan_for(span_arch.load("spanx4_ch48"), mixed=True)
    assert made is not None
    narrow = [value.narrow for value in made.values if isinstance(value.operation, Convolution)]
    # conv_1; three of each of six blocks, and conv_2; conv_cat; the upsampler
    assert narrow == [False, *[True] * 19, False, False]
    assert (
        sum(value.narrow for value in made.values if isinstance(value.operation, Cast)) == 8
    )  # conv_1, the blocks, and the middle of the last
