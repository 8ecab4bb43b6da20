"""Upscaling in strips: exact results, recovery from every failure, and memory that does not grow with the image."""

from __future__ import annotations

import gc
import logging
import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from spandrel import ImageModelDescriptor, ModelLoader, SizeRequirements
from spandrel.architectures.Compact import CompactArch
from spandrel.architectures.ESRGAN import ESRGAN, ESRGANArch
from torch import Tensor, nn

import span_arch
from span_arch import Context, Progress, Report, Settings, errors, upscale
from span_arch.archs.spanf3 import SPANF3
from span_arch.engine.context import Probes
from span_arch.engine.memory_footprint import AllocationTally
from span_arch.engine.prepared_plan import plan_for
from span_arch.engine.runner import MEMORY_SHARE
from span_arch.engine.select import can_stream
from span_arch.engine.settings import Precision
from span_arch.engine.strip_runner import SMALLEST_COLUMNS, SMALLEST_STRIP
from span_arch.models.build import FamilyModel
from span_arch.streaming import Stream

from ..faults import Stop, stop_at
from ..samples import image, small_model, whole
from .doubles import SMALL_CACHE, Strips

FLOAT32 = Settings(precision="float32")

pytestmark = pytest.mark.usefixtures("one_thread")


def count_strips(network: FamilyModel, frames: Tensor, settings: Settings) -> int:
    strips = Strips()
    upscale(network, frames, settings, strips.context())
    return len(strips.sizes)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (300, 1), (2, 3), (97, 150), (40, 700)])
def test_streamed_result_equals_the_whole(height: int, width: int) -> None:
    network, frames, strips = small_model(), image(height, width, frames=2), Strips()
    torch.testing.assert_close(upscale(network, frames, FLOAT32, strips.context()), whole(network, frames), atol=1e-5, rtol=0)
    assert len(strips.sizes) >= 2 * (height + 9) / max(8, (48 << 10) / (32 * width))


def test_wide_image_is_cut_into_columns() -> None:
    network, frames, strips = small_model(), image(30, 2500), Strips()
    torch.testing.assert_close(upscale(network, frames, FLOAT32, strips.context()), whole(network, frames), atol=1e-5, rtol=0)
    assert max(columns for _, columns in strips.sizes) < 450


@pytest.mark.parametrize(("height", "width"), [(24, 32), (25, 31)])
def test_real_esrgan_is_streamed_and_padded_as_spandrel_pads_it(height: int, width: int) -> None:
    torch.manual_seed(0)
    state = ESRGAN(in_nc=12, num_filters=8, num_blocks=1, scale=4, shuffle_factor=2).state_dict()
    network = ModelLoader().load_from_state_dict(state).eval()
    reports: list[Report] = []
    result = upscale(network, image(height, width), FLOAT32, Context(report=reports.append))
    assert reports[0].method.kind == "strips"
    torch.testing.assert_close(result, whole(network, image(height, width)), atol=1e-5, rtol=0)


def test_image_that_the_network_pads_itself_is_not_streamed() -> None:
    network = ModelLoader().load_from_state_dict(ESRGAN(in_nc=12, num_filters=8, num_blocks=1, scale=4, shuffle_factor=2).state_dict())
    network.eval().size_requirements = SizeRequirements()
    assert can_stream(network, Context(), (24, 32))
    assert not can_stream(network, Context(), (25, 32))
    assert not can_stream(network, Context(), (24, 31))


@pytest.mark.parametrize(("height", "width"), [(61, 31), (3, 2), (1, 5)])
@pytest.mark.parametrize("unshuffle", [2, 4])
def test_image_off_the_grid_is_padded_as_spandrel_pads_it(height: int, width: int, unshuffle: int) -> None:
    torch.manual_seed(0)
    network = span_arch.from_state_dict(SPANF3(feature_channels=8, blocks=1, scale=4 // unshuffle, unshuffle=unshuffle).state_dict())
    assert network.size_requirements.multiple_of == unshuffle
    frames, events = image(height, width), list[Progress]()
    result = upscale(network, frames, FLOAT32, Strips().context(progress=events.append))
    torch.testing.assert_close(result, whole(network, frames), atol=1e-5, rtol=0)
    shares = [event.done for event in events]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)


@pytest.mark.parametrize("kind", ["ESRGAN", "Compact"])
def test_networks_of_other_loaders_are_streamed_in_float32(kind: str) -> None:
    torch.manual_seed(0)
    if kind == "ESRGAN":
        network = ESRGANArch().load(ESRGAN(num_filters=8, num_blocks=1, scale=2).state_dict())
    else:
        state = {}
        for i, (c_in, c_out) in enumerate([(3, 8), (8, 8), (8, 12)]):
            state |= {f"body.{2 * i}.weight": torch.randn(c_out, c_in, 3, 3) / 9, f"body.{2 * i}.bias": torch.randn(c_out) / 9}
        state |= {"body.1.weight": torch.rand(8), "body.3.weight": torch.rand(8)}
        network = CompactArch().load(state)
    network.eval()
    assert plan_for(network) is not None
    torch.testing.assert_close(upscale(network, image(), context=Strips().context()), whole(network, image()), atol=1e-5, rtol=0)


def test_progress_is_reported_around_every_strip() -> None:
    network, frames = small_model(), image(frames=2)
    events: list[Progress] = []
    strips = Strips()
    upscale(network, frames, context=strips.context(progress=events.append))
    places = [(event.frame, event.fraction) for event in events]
    assert places[0] == (0, 0)
    assert places[-1] == (2, 0)
    assert places == sorted(places)
    assert len(events) == len(strips.sizes) + 1


# Failures at every strip


def test_out_of_memory_at_any_strip_shrinks_the_following() -> None:
    network, frames = small_model(), image()
    expected = whole(network, frames)
    for fault in range(1, count_strips(network, frames, FLOAT32) + 1):

        def fail_once(number: int, size: tuple[int, int], rows: Tensor, fault: int = fault) -> Tensor:
            if number == fault:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return rows

        events: list[Progress] = []
        strips = Strips(fail_once)
        result = upscale(network, frames, FLOAT32, strips.context(progress=events.append))
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)
        assert max(rows for rows, _ in strips.sizes[fault:]) < strips.sizes[0][0]
        shares = [event.done for event in events]
        assert shares == sorted(shares)  # finished work stays finished


@pytest.mark.parametrize("limit", [1500, 700, 500])
def test_size_that_does_not_fit_is_not_tried_twice(limit: int) -> None:
    network, frames = small_model(), image(60, 200, frames=2)
    failed: list[tuple[int, int]] = []

    def fail_large(number: int, size: tuple[int, int], rows: Tensor) -> Tensor:
        if size[0] * size[1] > limit:
            failed.append(size)
            raise MemoryError
        return rows

    result = upscale(network, frames, FLOAT32, Strips(fail_large).context())
    torch.testing.assert_close(result, whole(network, frames), atol=1e-5, rtol=0)
    assert failed
    assert len(failed) == len(set(failed))


def test_no_memory_at_all_is_an_error() -> None:
    def fail(number: int, size: tuple[int, int], rows: Tensor) -> Tensor:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    strips = Strips(fail)
    with pytest.raises(errors.OutOfMemoryError, match=rf"not enough memory on 'cpu' even for a piece of \d+x{SMALLEST_STRIP} pixels"):
        upscale(small_model(), image(), context=strips.context())
    assert len(strips.sizes) == len(set(strips.sizes))
    assert min(columns for _, columns in strips.sizes) <= SMALLEST_COLUMNS + 9


def test_stream_without_room_to_begin_with_is_made_smaller() -> None:
    class Scarce(Strips):
        def __call__(self, plan: object, weights: object, height: int, width: int, strip: int, *others: Any) -> Stream:
            if strip > 4:
                raise MemoryError
            return super().__call__(plan, weights, height, width, strip, *others)

    result = upscale(small_model(), image(), FLOAT32, Scarce().context())
    torch.testing.assert_close(result, whole(small_model(), image()), atol=1e-5, rtol=0)


def test_infinity_at_any_strip_is_redone_in_float32_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    network, frames, bfloat16 = small_model(), image(), Settings(precision="bfloat16")
    expected = whole(network, frames)
    redone = 0
    for fault in range(1, count_strips(network, frames, bfloat16) + 1):
        overflown: list[int] = []

        def overflow(number: int, size: tuple[int, int], rows: Tensor, fault: int = fault, overflown: list[int] = overflown) -> Tensor:
            if number == fault:
                overflown.append(rows.numel())  # the first strips of a deep network give no rows yet
                return torch.full_like(rows, torch.inf)
            return rows

        caplog.clear()
        with caplog.at_level(logging.WARNING):
            result = upscale(network, frames, bfloat16, Strips(overflow).context())
        torch.testing.assert_close(result, expected, atol=0.02, rtol=0)
        messages = [record.getMessage() for record in caplog.records]
        assert messages == ["1 piece gave NaN or infinity and was redone in float32."] * bool(overflown[0])
        redone += len(messages)
    assert redone


def test_nan_in_float32_is_an_error() -> None:
    strips = Strips(lambda number, size, rows: rows * torch.nan)
    for precision in ("auto", "float32", "bfloat16"):
        with pytest.raises(errors.NotFiniteError, match="NaN or infinity"):
            upscale(small_model(), image(), Settings(precision=precision), strips.context())


@pytest.mark.parametrize("precision", ["auto", "bfloat16"])
def test_cancelling_at_any_strip_changes_nothing(precision: Precision) -> None:
    network, frames, settings = small_model(), image(), Settings(precision=precision)
    before = {key: tensor.clone() for key, tensor in network.model.state_dict().items()}
    addresses = [parameter.data_ptr() for parameter in network.model.parameters()]
    original = frames.clone()
    for last in range(1, count_strips(network, frames, settings) + 2):
        with pytest.raises(Stop):
            upscale(network, frames, settings, Strips().context(progress=stop_at(last)))
    assert [parameter.data_ptr() for parameter in network.model.parameters()] == addresses
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.model.state_dict().items())
    assert torch.equal(frames, original)


def test_cached_plan_does_not_keep_a_model_alive() -> None:
    network = small_model()
    upscale(network, image())
    reference = weakref.ref(network.model)
    del network
    gc.collect()
    assert reference() is None


def test_failed_stream_is_released_before_cached_memory_is_returned() -> None:
    made: list[weakref.ref[Stream]] = []
    alive: list[bool] = []

    class Watched(Strips):
        def __call__(self, *arguments: Any) -> Stream:
            stream = super().__call__(*arguments)
            made.append(weakref.ref(stream))
            return stream

    def fail_second(number: int, size: tuple[int, int], rows: Tensor) -> Tensor:
        if number == 2:
            raise MemoryError
        return rows

    probes = replace(Watched(fail_second).context().probes, give_back=lambda device: alive.append(made[-1]() is not None))
    result = upscale(small_model(), image(), FLOAT32, Context(probes=probes))
    torch.testing.assert_close(result, whole(small_model(), image()), atol=1e-5, rtol=0)
    assert alive == [False]


# Memory


@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
@pytest.mark.parametrize(("height", "width"), [(400, 64), (200, 300)])
def test_memory_of_a_strip_is_known_beforehand(precision: Precision, height: int, width: int) -> None:
    requests: list[int] = []
    network, frames, settings = small_model(blocks=4), image(height, width), Settings(precision=precision)
    context = Context(room=lambda wanted: requests.append(wanted) or 1 << 40, probes=Probes(cache=SMALL_CACHE))
    upscale(network, frames, settings, context)
    known = requests[0] * MEMORY_SHARE
    assert known == pytest.approx(stream_bytes(network, frames, settings), rel=0.5)


def stream_bytes(network: FamilyModel, frames: Tensor, settings: Settings) -> int:
    """Return the most bytes that a stream holds at a time, with its strips."""
    with AllocationTally() as tally:

        class Counted(Strips):
            def __call__(self, *arguments: Any) -> Stream:
                tally.start()
                return super().__call__(*arguments)

        upscale(network, frames, settings, Counted().context())
    return tally.peak


def test_memory_does_not_grow_with_rows() -> None:
    network = small_model()
    low, high = (stream_bytes(network, torch.rand(1, 1, 1, 3).expand(1, rows, 64, 3), FLOAT32) for rows in (300, 3000))
    assert high <= 1.1 * low


def test_memory_does_not_grow_with_frames() -> None:
    network = small_model()
    low, high = (stream_bytes(network, torch.rand(1, 1, 1, 3).expand(frames, 60, 64, 3), FLOAT32) for frames in (1, 10))
    assert high <= 1.1 * low


def test_model_that_does_more_than_its_network_is_run_as_it_is_called() -> None:
    wrapped = nn.Sequential(small_model().model)  # whose state dict is not of the family, so that it is not fused
    network = ImageModelDescriptor(
        wrapped, wrapped.state_dict(), small_model().architecture, "SR", [], True, True, 2, 3, 3, call_fn=lambda module, x: 1 - module(x)
    )
    for tile in (None, 32):
        result = upscale(network, image(), Settings(precision="float32", tile=tile))
        torch.testing.assert_close(result, whole(network, image()), atol=1e-5, rtol=0)
