"""``torch.compile``: compiled once for one shape, and doing without where there is no compiler."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from span_arch import Settings, upscale
from span_arch.engine.compiled import Compiled

from ..samples import image, small_model, whole

pytestmark = pytest.mark.usefixtures("one_thread")


class Compiler:
    """Takes the place of torch.compile, and records the shapes that its results are called with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> None:
        self.shapes: list[torch.Size] = []

        def compile_(function: Callable[[Tensor], Tensor], dynamic: bool) -> Callable[[Tensor], Tensor]:
            def run(x: Tensor) -> Tensor:
                self.shapes.append(x.shape)
                if error is not None:
                    raise error
                return function(x)

            return run

        monkeypatch.setattr(torch, "compile", compile_)


def test_network_is_compiled_for_one_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler, network, frames = Compiler(monkeypatch), small_model(), image(90, 110, frames=2)
    result = upscale(network, frames, Settings(tile=32, compiled=True, precision="float32"))
    torch.testing.assert_close(result, whole(network, frames), atol=1e-5, rtol=0)
    assert len(compiler.shapes) == 2 * 3 * 4
    assert len(set(compiler.shapes)) == 1


def test_other_shapes_run_uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler, network = Compiler(monkeypatch), Compiled(nn.Identity())
    for side in (4, 5, 4):
        network(torch.rand(1, 3, side, side))
    assert compiler.shapes == [(1, 3, 4, 4), (1, 3, 4, 4)]


def test_without_a_compiler_the_network_runs_uncompiled(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    compiler, network, frames = Compiler(monkeypatch, RuntimeError("Failed to find a C++ compiler")), small_model(), image(frames=2)
    with caplog.at_level(logging.WARNING):
        result = upscale(network, frames, Settings(compiled=True, precision="float32"))
    torch.testing.assert_close(result, whole(network, frames), atol=1e-5, rtol=0)
    assert len(compiler.shapes) == 1
    assert not caplog.records


def test_out_of_memory_is_not_taken_for_a_missing_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    Compiler(monkeypatch, torch.cuda.OutOfMemoryError("CUDA out of memory"))
    network = Compiled(nn.Identity())
    for _ in range(2):
        with pytest.raises(torch.cuda.OutOfMemoryError):
            network(torch.rand(1, 3, 4, 4))


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler, which torch.compile needs on a CPU")
def test_torch_compiles_a_network_just_once() -> None:
    network, frames = small_model(blocks=1), image(40, 60, frames=2)
    before = counters["stats"]["unique_graphs"]
    for _ in range(2):
        result = upscale(network, frames, Settings(compiled=True, precision="float32"))
        torch.testing.assert_close(result, whole(network, frames), atol=1e-5, rtol=0)
    assert counters["stats"]["unique_graphs"] == before + 1
