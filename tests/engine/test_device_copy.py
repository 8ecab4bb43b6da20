"""What is done for a GPU, as far as it can be seen without one: batches, copies, kernels, compilers, and what happens if they fail."""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._dynamo.utils import counters

import span_arch
from span_arch._util import memory
from span_arch.archs.blocks import SPAB, attention
from span_arch.archs.espan import ESPAN
from span_arch.archs.span import SPAN
from span_arch.engine import device_copy, kernels, tile_runner, transfer
from span_arch.engine.compiled import Compiled
from span_arch.models.build import FamilyModel

from ..faults import Stop, stop_at

CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("one_thread")


def model() -> FamilyModel:
    torch.manual_seed(0)
    return span_arch.from_state_dict(SPAN(feature_channels=8, blocks=1, scale=2, normalisation=None).state_dict())


def image(height: int = 40, width: int = 60, frames: int = 5, channels: int = 3) -> Tensor:
    torch.manual_seed(1)
    return F.interpolate(torch.rand(frames, channels, 9, 9), size=(height, width), mode="bicubic").clamp(0, 1).movedim(1, -1).contiguous()


def in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no network could be streamed."""
    monkeypatch.setattr(sys.modules["span_arch.engine.select"], "plan_for", lambda model: None)


class Accelerator:
    """Streams and events that write down what is asked of them, on a CPU that is taken for an accelerator."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pixels: int = 1 << 20) -> None:
        self.log: list[str] = []
        self.shapes: list[tuple[int, ...]] = []
        self.meddle: Callable[[int, Tensor], Tensor] = lambda number, result: result
        in_tiles(monkeypatch)
        monkeypatch.setattr(tile_runner, "together", lambda device: pixels)
        elsewhere = torch.device("cpu", 0)  # another device than "cpu" by name, where tensors can go all the same
        monkeypatch.setattr(device_copy, "transfer_to", lambda device: transfer.Overlapped(elsewhere, self))
        monkeypatch.setattr(Tensor, "record_stream", lambda tensor, stream: self.log.append("kept"))
        real = SPAN.forward

        def forward(network: SPAN, x: Tensor) -> Tensor:
            if x.device.type == "meta":
                return real(network, x)
            self.log.append("run")
            self.shapes.append(tuple(x.shape))
            return self.meddle(len(self.shapes), real(network, x))

        monkeypatch.setattr(SPAN, "forward", forward)

    def Stream(self, device: torch.device) -> Any:
        accelerator = self

        class Stream:
            def wait_stream(self, other: object) -> None:
                accelerator.log.append("order")

        return Stream()

    def current_stream(self, device: torch.device) -> Any:
        return self.Stream(device)

    def stream(self, stream: object) -> Any:
        return contextlib.nullcontext()

    def Event(self) -> Any:
        accelerator = self

        class Event:
            def record(self, stream: object) -> None:
                accelerator.log.append("fetch")

            def synchronize(self) -> None:
                accelerator.log.append("wait")

        return Event()


def expected(network: FamilyModel, picture: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([network(frame[None].movedim(-1, 1)) for frame in picture]).movedim(1, -1)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_frames_go_side_by_side_as_many_as_help(monkeypatch: pytest.MonkeyPatch, channels: int) -> None:
    network, picture = model(), image(channels=channels)
    one_by_one = span_arch.upscale(network, picture, span_arch.Settings(precision="float32"))
    accelerator = Accelerator(monkeypatch, pixels=2 * 40 * 60)
    result = span_arch.upscale(network, picture, span_arch.Settings(precision="float32"))
    torch.testing.assert_close(result, one_by_one, atol=1e-5, rtol=0)
    assert [shape[0] for shape in accelerator.shapes] == [2, 2, 1]


def test_tiles_are_of_one_shape_and_go_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    network, picture = model(), image(100, 150, frames=2)
    whole = expected(network, picture)
    accelerator = Accelerator(monkeypatch, pixels=2 << 12)
    room = int(tile_runner.footprint_of(network).peak * 4096 / tile_runner.MEMORY_SHARE)
    torch.testing.assert_close(
        span_arch.upscale(network, picture, span_arch.Settings(precision="float32"), span_arch.Context(room=lambda wanted: room)),
        whole,
        atol=1e-5,
        rtol=0,
    )
    assert len({shape[2:] for shape in accelerator.shapes}) == 1
    assert accelerator.shapes[0][2:] != (100, 150)


def test_a_tile_that_is_asked_for_goes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    accelerator = Accelerator(monkeypatch)
    span_arch.upscale(model(), image(frames=2), span_arch.Settings(tile=32))
    assert {shape[0] for shape in accelerator.shapes} == {1}


def test_while_one_batch_is_computed_the_one_before_is_brought_back(monkeypatch: pytest.MonkeyPatch) -> None:
    accelerator = Accelerator(monkeypatch, pixels=1)
    span_arch.upscale(model(), image(frames=3))
    steps = [step for step in accelerator.log if step in ("run", "wait")]
    # The picture and its sums are waited for, once each.
    assert steps == ["run", "run", "wait", "wait", "run", "wait", "wait", "wait", "wait"]
    assert accelerator.log.count("fetch") == 6


def test_copies_are_ordered_against_the_computing_and_memory_is_kept_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    accelerator = Accelerator(monkeypatch)
    span_arch.upscale(model(), image(frames=1))
    assert accelerator.log == ["order", "kept", "run", "order", "fetch", "kept", "order", "fetch", "kept", "wait", "wait"]


def test_without_pinned_memory_copies_are_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = torch.empty_like, list[bool]()

    def none(tensor: Tensor, *, device: str, pin_memory: bool = False) -> Tensor:
        asked.append(pin_memory)
        if pin_memory:
            raise RuntimeError("CUDA error: out of memory")
        return real(tensor, device=device)

    network, picture = model(), image(frames=1)
    whole = expected(network, picture)
    Accelerator(monkeypatch)
    monkeypatch.setattr(torch, "empty_like", none)
    torch.testing.assert_close(span_arch.upscale(network, picture, span_arch.Settings(precision="float32")), whole, atol=1e-5, rtol=0)
    assert asked == [True, False] * 3  # the image, the result and its sums


def test_what_is_wanted_on_the_device_stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    accelerator = Accelerator(monkeypatch)
    copies = transfer.Overlapped(torch.device("cpu", 0), accelerator)
    result, sums = torch.rand(1, 3, 4, 4), torch.rand(1)
    assert copies.fetch(result, torch.device("cuda", 0))() is result
    assert accelerator.log == []
    assert copies.fetch(sums, CPU)() is not sums
    on_device = torch.empty(1, 3, 4, 4, device="meta")  # as good as any that is not the host's memory
    assert copies.__class__(torch.device("meta"), accelerator).send(on_device, torch.float16, torch.channels_last).dtype is torch.float16
    assert accelerator.log.count("kept") == 1


def test_memory_that_runs_out_at_any_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    network, picture = model(), image(frames=6)
    whole = expected(network, picture)
    for fault in (1, 2, 3):

        def once(number: int, result: Tensor, fault: int = fault) -> Tensor:
            if number == fault:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return result

        with monkeypatch.context() as patch:
            accelerator = Accelerator(patch, pixels=2 * 40 * 60)
            accelerator.meddle = once
            given_back: list[torch.device] = []
            patch.setattr(memory, "give_back", given_back.append)
            told: list[int] = []
            result = span_arch.upscale(
                network,
                picture,
                span_arch.Settings(precision="float32"),
                span_arch.Context(progress=lambda done, total, told=told: told.append(done)),
            )
        torch.testing.assert_close(result, whole, atol=1e-5, rtol=0)
        # Those of the failed batch go again, each alone, and so do all after it; what was done before stays done.
        assert [shape[0] for shape in accelerator.shapes] == [2] * fault + [1] * (6 - 2 * (fault - 1))
        assert told == sorted(told)
        assert len(given_back) == 1


def test_nan_in_a_batch_is_done_again_alone(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    network, picture = model(), image(frames=6)
    whole = expected(network, picture)

    def overflows(number: int, result: Tensor) -> Tensor:
        if number == 2:
            result[1, 0, 3, 3] = torch.inf  # which would otherwise come out as white
        return result

    accelerator = Accelerator(monkeypatch, pixels=3 * 40 * 60)
    accelerator.meddle = overflows
    with caplog.at_level(logging.WARNING):
        result = span_arch.upscale(network, picture, span_arch.Settings(precision="bfloat16"))
    assert [shape[0] for shape in accelerator.shapes] == [3, 3, 1]
    torch.testing.assert_close(result[4], whole[4], atol=1e-5, rtol=0)
    assert [record.getMessage()[:20] for record in caplog.records] == ["1 tiles came out as "]


def test_cancelled_at_any_batch_all_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    network, picture = model(), image()
    before = {key: tensor.clone() for key, tensor in network.model.state_dict().items()}
    Accelerator(monkeypatch, pixels=1)
    for last in range(1, 7):
        with pytest.raises(Stop):
            span_arch.upscale(network, picture, span_arch.Settings(precision="bfloat16"), span_arch.Context(progress=stop_at(last)))
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.model.state_dict().items())


# The fused attention


@pytest.fixture
def jiterator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[..., Tensor]], None]]:
    """Puts something in the place of torch's compiler of kernels."""
    kernels.fused_attention.cache_clear()
    yield lambda made: monkeypatch.setattr(torch.cuda.jiterator, "_create_jit_fn", lambda code: made)
    kernels.fused_attention.cache_clear()


def evaluated(t: Tensor, x: Tensor) -> Tensor:
    """What the kernel's own text computes."""
    (formula,) = re.findall(r"return (.+?);", kernels._ATTENTION)
    return eval(re.sub(r"T\(([\d.]+)\)", r"\1", formula), {"exp": torch.exp, "t": t, "x": x})  # noqa: S307


def test_the_kernel_says_what_the_blocks_say(jiterator: Callable[[Callable[..., Tensor]], None]) -> None:
    jiterator(evaluated)
    assert kernels.fused_attention(CPU, torch.float32) is evaluated
    t, x = torch.randn(2, 3, 4, 5, 6).double()
    torch.testing.assert_close(evaluated(t, x), attention(t, x))


def test_a_kernel_that_fails_or_gives_something_else_is_not_used(jiterator: Callable[[Callable[..., Tensor]], None]) -> None:
    def fails(t: Tensor, x: Tensor) -> Tensor:
        raise RuntimeError("nvrtc: error: invalid value for --gpu-architecture")

    for made in (fails, lambda t, x: attention(x, t), lambda t, x: t):
        jiterator(made)
        kernels.fused_attention.cache_clear()
        assert kernels.fused_attention(CPU, torch.float32) is attention


@pytest.mark.parametrize("network", [SPAN(feature_channels=8, blocks=2), ESPAN(feature_channels=8, blocks=2)], ids=["SPAN", "ESPAN"])
def test_every_block_takes_the_kernel(monkeypatch: pytest.MonkeyPatch, network: nn.Module) -> None:
    calls: list[int] = []

    def counted(t: Tensor, x: Tensor) -> Tensor:
        calls.append(1)
        return attention(t, x)

    shown = torch.rand(1, 3, 8, 8)
    before = network(shown)
    monkeypatch.setattr(kernels, "fused_attention", lambda device, dtype: counted)
    kernels.fuse_attention(network, torch.device("cuda"), torch.float16)
    torch.testing.assert_close(network(shown), before)
    assert len(calls) == sum(hasattr(module, "attend") for module in network.modules()) >= 2
    assert SPAB.attend is attention


# torch.compile


class Compiler:
    """In the place of torch.compile."""

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


def test_a_network_is_compiled_for_one_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler, network, picture = Compiler(monkeypatch), model(), image(90, 110)
    result = span_arch.upscale(network, picture, span_arch.Settings(tile=32, compiled=True, precision="float32"))
    torch.testing.assert_close(result, expected(network, picture), atol=1e-5, rtol=0)
    assert len(compiler.shapes) == 5 * 3 * 4
    assert len(set(compiler.shapes)) == 1


def test_other_shapes_go_through_the_network_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler, network = Compiler(monkeypatch), Compiled(nn.Identity())
    for side in (4, 5, 4):
        network(torch.rand(1, 3, side, side))
    assert compiler.shapes == [(1, 3, 4, 4), (1, 3, 4, 4)]


def test_without_a_compiler_all_goes_on(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    compiler, network, picture = Compiler(monkeypatch, RuntimeError("Failed to find a C++ compiler")), model(), image()
    with caplog.at_level(logging.WARNING):
        result = span_arch.upscale(network, picture, span_arch.Settings(compiled=True, precision="float32"))
    torch.testing.assert_close(result, expected(network, picture), atol=1e-5, rtol=0)
    assert len(compiler.shapes) == 1
    assert not caplog.records


def test_a_compiled_network_that_has_no_memory_is_not_taken_for_one_that_does_not_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    Compiler(monkeypatch, torch.cuda.OutOfMemoryError("CUDA out of memory"))
    network = Compiled(nn.Identity())
    for _ in range(2):
        with pytest.raises(torch.cuda.OutOfMemoryError):
            network(torch.rand(1, 3, 4, 4))


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler, which torch.compile needs on a CPU")
def test_torch_really_compiles_a_network_and_just_once() -> None:
    network, picture = model(), image(frames=2)
    before = counters["stats"]["unique_graphs"]
    for _ in range(2):
        result = span_arch.upscale(network, picture, span_arch.Settings(compiled=True, precision="float32"))
        torch.testing.assert_close(result, expected(network, picture), atol=1e-5, rtol=0)
    assert counters["stats"]["unique_graphs"] == before + 1


def test_what_is_no_device_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    from span_arch.cli import main

    with pytest.raises(SystemExit):
        main(["in.png", "out.png", "--device", "gpu"])
    assert "there is no device 'gpu' here" in capsys.readouterr().err


def test_an_error_that_has_nothing_to_do_with_memory_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(number: int, result: Tensor) -> Tensor:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    Accelerator(monkeypatch).meddle = fails
    with pytest.raises(RuntimeError, match="illegal memory access"):
        span_arch.upscale(model(), image())


def test_the_best_device_is_a_gpu_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for api in (torch.cuda, torch.xpu, torch.backends.mps):
        monkeypatch.setattr(api, "is_available", lambda: False)
    assert memory.best_device() == CPU
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert memory.best_device() == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert memory.best_device() == torch.device("cuda")
