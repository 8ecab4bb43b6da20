"""Upscaling in strips: what fails is done again, smaller or in float32, and nothing else is; memory does not grow with the image."""

from __future__ import annotations

import gc
import logging
import sys
import weakref
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from spandrel import ImageModelDescriptor, ModelLoader, SizeRequirements
from spandrel.architectures.Compact import CompactArch
from spandrel.architectures.ESRGAN import ESRGAN, ESRGANArch
from torch import Tensor, nn

import span_arch
from span_arch import Report, errors
from span_arch._util import memory
from span_arch.archs.span import SPAN
from span_arch.archs.spanf3 import SPANF3
from span_arch.engine import select, strip_runner
from span_arch.engine.footprint import AllocationTally
from span_arch.engine.precision import Precision
from span_arch.engine.prepared_plan import plan_for
from span_arch.engine.strip_runner import SMALLEST_COLUMNS, SMALLEST_STRIP
from span_arch.models.build import FamilyModel
from span_arch.streaming import Stream

from ..faults import Stop, stop_at

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def small_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if caches held nothing, so that small images take several strips, too."""
    monkeypatch.setattr(strip_runner, "_CACHED", 48 << 10)
    monkeypatch.setattr(strip_runner, "_CACHED_AT_ALL", 96 << 10)
    monkeypatch.setattr(strip_runner, "_ENOUGH_ROWS", 8)


def model(blocks: int = 2) -> FamilyModel:
    torch.manual_seed(0)
    return span_arch.from_state_dict(SPAN(feature_channels=8, blocks=blocks, scale=2, normalisation=None).state_dict())


def image(height: int = 60, width: int = 90, frames: int = 1) -> Tensor:
    torch.manual_seed(1)
    return F.interpolate(torch.rand(frames, 3, 9, 9), size=(height, width), mode="bicubic").clamp(0, 1).movedim(1, -1).contiguous()


def whole(network: ImageModelDescriptor[nn.Module], frames: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.cat([network(frame[None].movedim(-1, 1)) for frame in frames]).movedim(1, -1)


class Watched:
    """Counts the strips that are run, and may do something to each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, meddle: Callable[[Stream, int, Tensor], Tensor] | None = None) -> None:
        self.strips: list[tuple[int, int]] = []
        real = Stream.__call__

        def run(stream: Stream, shown: Tensor) -> Iterator[Tensor]:
            for rows in real(stream, shown):
                self.strips.append((stream.strip, shown.shape[3]))
                yield rows if meddle is None else meddle(stream, len(self.strips), rows)

        monkeypatch.setattr(Stream, "__call__", run)


def strips_of(monkeypatch: pytest.MonkeyPatch, network: FamilyModel, picture: Tensor, precision: Precision) -> int:
    with monkeypatch.context() as patch:
        watched = Watched(patch)
        span_arch.upscale(network, picture, span_arch.Settings(precision=precision))
    return len(watched.strips)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (300, 1), (2, 3), (97, 150), (40, 700)])
def test_a_streamed_image_equals_the_whole(monkeypatch: pytest.MonkeyPatch, height: int, width: int) -> None:
    network, picture = model(), image(height, width, frames=2)
    watched = Watched(monkeypatch)
    torch.testing.assert_close(
        span_arch.upscale(network, picture, span_arch.Settings(precision="float32")), whole(network, picture), atol=1e-5, rtol=0
    )
    assert len(watched.strips) >= 2 * (height + 9) / max(8, (48 << 10) / (32 * width))


def test_a_wide_image_is_cut_into_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    network, picture = model(), image(30, 2500)
    watched = Watched(monkeypatch)
    torch.testing.assert_close(
        span_arch.upscale(network, picture, span_arch.Settings(precision="float32")), whole(network, picture), atol=1e-5, rtol=0
    )
    assert max(columns for _, columns in watched.strips) < 450


@pytest.mark.parametrize(("height", "width"), [(24, 32), (25, 31)])
def test_real_esrgan_goes_in_strips_as_spandrel_pads_it(height: int, width: int) -> None:
    torch.manual_seed(0)
    state = ESRGAN(in_nc=12, num_filters=8, num_blocks=1, scale=4, shuffle_factor=2).state_dict()
    network = ModelLoader().load_from_state_dict(state).eval()
    reports: list[Report] = []
    result = span_arch.upscale(
        network, image(height, width), span_arch.Settings(precision="float32"), span_arch.Context(report=reports.append)
    )
    assert "strip" in reports[0].method
    with torch.no_grad():
        expected = network(image(height, width).movedim(-1, 1)).movedim(1, -1)
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)
    another = ModelLoader().load_from_state_dict(state).eval()
    another.size_requirements = SizeRequirements()
    assert select._bears_strips(another, (24, 32))
    assert not select._bears_strips(another, (25, 32))  # which the network pads by itself
    assert not select._bears_strips(another, (24, 31))


@pytest.mark.parametrize(("height", "width"), [(61, 31), (3, 2), (1, 5)])
@pytest.mark.parametrize("unshuffle", [2, 4])
def test_images_that_do_not_fit_the_grid_are_mirrored_as_spandrel_does(height: int, width: int, unshuffle: int) -> None:
    torch.manual_seed(0)
    network = span_arch.from_state_dict(SPANF3(feature_channels=8, blocks=1, scale=4 // unshuffle, unshuffle=unshuffle).state_dict())
    assert network.size_requirements.multiple_of == unshuffle
    picture = image(height, width)
    told: list[int] = []
    result = span_arch.upscale(
        network, picture, span_arch.Settings(precision="float32"), span_arch.Context(progress=lambda done, total: told.append(done))
    )
    torch.testing.assert_close(result, whole(network, picture), atol=1e-5, rtol=0)
    assert told == sorted(told)
    assert told[-1] == height * width


@pytest.mark.parametrize("kind", ["ESRGAN", "Compact"])
def test_networks_of_other_loaders_are_streamed_and_stay_in_float32(kind: str) -> None:
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
    torch.testing.assert_close(span_arch.upscale(network, image()), whole(network, image()), atol=1e-5, rtol=0)


def test_what_a_model_does_beside_its_network_is_done() -> None:
    network = model()
    network._call_fn = lambda module, x: 1 - module(x)
    torch.testing.assert_close(
        span_arch.upscale(network, image(), span_arch.Settings(precision="float32")), whole(network, image()), atol=1e-5, rtol=0
    )


def test_progress_is_told_around_every_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    network, picture = model(), image(frames=2)
    told: list[tuple[int, int]] = []
    watched = Watched(monkeypatch)
    span_arch.upscale(network, picture, context=span_arch.Context(progress=lambda done, total: told.append((done, total))))
    assert told[0] == (0, 2 * 60 * 90)
    assert told[-1] == (2 * 60 * 90, 2 * 60 * 90)
    assert told == sorted(told)
    assert len(told) == len(watched.strips) + 1


# Faults at every strip


def test_memory_that_runs_out_at_any_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    network, picture = model(), image()
    expected = whole(network, picture)
    for fault in range(1, strips_of(monkeypatch, network, picture, "float32") + 1):

        def scarce(stream: Stream, number: int, rows: Tensor, fault: int = fault) -> Tensor:
            if number == fault:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return rows

        told: list[int] = []
        with monkeypatch.context() as patch:
            watched = Watched(patch, scarce)
            result = span_arch.upscale(
                network,
                picture,
                span_arch.Settings(precision="float32"),
                span_arch.Context(progress=lambda done, total, told=told: told.append(done)),
            )
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=0)
        assert {strip for strip, _ in watched.strips[:fault]} != {strip for strip, _ in watched.strips[fault:]}
        assert max(strip for strip, _ in watched.strips[fault:]) < watched.strips[0][0]
        assert told == sorted(told)  # what was finished stayed so


@pytest.mark.parametrize("limit", [3000, 700, 500])
def test_what_does_not_fit_is_tried_smaller_and_not_again(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    network, picture = model(), image(60, 200, frames=2)
    failed: list[tuple[int, int]] = []

    def scarce(stream: Stream, number: int, rows: Tensor) -> Tensor:
        if watched.strips[-1][0] * watched.strips[-1][1] > limit:
            failed.append(watched.strips[-1])
            raise MemoryError
        return rows

    watched = Watched(monkeypatch, scarce)
    torch.testing.assert_close(
        span_arch.upscale(network, picture, span_arch.Settings(precision="float32")), whole(network, picture), atol=1e-5, rtol=0
    )
    assert len(failed) == len(set(failed))
    assert limit >= 8 * 220 or failed


def test_no_memory_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(stream: Stream, number: int, rows: Tensor) -> Tensor:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    watched = Watched(monkeypatch, never)
    with pytest.raises(errors.OutOfMemoryError, match=rf"not enough memory on 'cpu' even for a strip of \d+x{SMALLEST_STRIP}"):
        span_arch.upscale(model(), image())
    assert len(watched.strips) == len(set(watched.strips))
    assert min(columns for _, columns in watched.strips) <= SMALLEST_COLUMNS + 9


def test_a_stream_that_finds_no_room_to_begin_with(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Stream.__init__

    def scarce(stream: Stream, plan: object, weights: object, height: int, width: int, strip: int, *others: object) -> None:
        if strip > 4:
            raise MemoryError
        real(stream, plan, weights, height, width, strip, *others)

    monkeypatch.setattr(Stream, "__init__", scarce)
    network = model()
    torch.testing.assert_close(
        span_arch.upscale(network, image(), span_arch.Settings(precision="float32")), whole(network, image()), atol=1e-5, rtol=0
    )


def test_nan_at_any_strip_is_done_again_in_float32_and_told_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    network, picture = model(), image()
    expected = whole(network, picture)
    for fault in range(1, strips_of(monkeypatch, network, picture, "bfloat16") + 1):
        overflown = list[int]()

        def overflows(stream: Stream, number: int, rows: Tensor, fault: int = fault, overflown: list[int] = overflown) -> Tensor:
            if number == fault:
                overflown.append(rows.numel())
                return torch.full_like(rows, torch.inf)
            return rows

        caplog.clear()
        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
            Watched(patch, overflows)
            result = span_arch.upscale(network, picture, span_arch.Settings(precision="bfloat16"))
        torch.testing.assert_close(result, expected, atol=0.02, rtol=0)
        told = [record.getMessage() for record in caplog.records]
        assert [text.startswith("1 strips came out as NaN or infinity in bfloat16") for text in told] == [True] * bool(overflown[0])


def test_nan_in_float32_is_an_error_and_never_a_black_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    Watched(monkeypatch, lambda stream, number, rows: rows * torch.nan)
    for precision in ("auto", "float32", "bfloat16"):
        with pytest.raises(errors.NotFiniteError, match="NaN or infinity"):
            span_arch.upscale(model(), image(), span_arch.Settings(precision=precision))


@pytest.mark.parametrize("precision", ["auto", "bfloat16"])
def test_cancelled_at_any_strip_all_is_as_before(monkeypatch: pytest.MonkeyPatch, precision: Precision) -> None:
    network, picture = model(), image()
    before = {key: tensor.clone() for key, tensor in network.model.state_dict().items()}
    addresses = [parameter.data_ptr() for parameter in network.model.parameters()]
    shown = picture.clone()
    for last in range(1, strips_of(monkeypatch, network, picture, precision) + 2):
        with pytest.raises(Stop):
            span_arch.upscale(network, picture, span_arch.Settings(precision=precision), span_arch.Context(progress=stop_at(last)))
    assert [parameter.data_ptr() for parameter in network.model.parameters()] == addresses
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.model.state_dict().items())
    assert torch.equal(picture, shown)


def test_what_is_remembered_of_a_model_does_not_keep_it_alive() -> None:
    network = model()
    span_arch.upscale(network, image())
    gone = weakref.ref(network.model)
    del network
    gc.collect()
    assert gone() is None


def test_the_memory_of_a_strip_that_failed_is_given_back_before_the_next_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[weakref.ref[Stream]] = []

    def fails(stream: Stream, number: int, rows: Tensor) -> Tensor:
        if number == 2:
            failed.append(weakref.ref(stream))
            raise MemoryError
        return rows

    network, picture, gone = model(), image(), list[bool]()
    expected = whole(network, picture)
    Watched(monkeypatch, fails)
    monkeypatch.setattr(memory, "give_back", lambda device: gone.append(failed[0]() is None))
    torch.testing.assert_close(span_arch.upscale(network, picture, span_arch.Settings(precision="float32")), expected, atol=1e-5, rtol=0)
    assert gone == [True]


# Memory


@pytest.fixture
def nothing_but_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a search of the image for NaN, nor the block for the allocator, which nobody writes to and which takes no memory."""
    monkeypatch.setattr(memory, "keep_freed_blocks", lambda device: None)
    monkeypatch.setattr(sys.modules["span_arch.upscale"], "check_image", lambda image: None)


def peak(network: FamilyModel, picture: Tensor, precision: Precision = "auto") -> int:
    """The most bytes that an upscale holds at one time, its image and its result aside."""
    with AllocationTally() as tally:
        result = span_arch.upscale(network, picture, span_arch.Settings(precision=precision))
    return tally.peak - sum(tensor.untyped_storage().nbytes() for tensor in (picture, result))


@pytest.mark.usefixtures("nothing_but_strips")
@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
@pytest.mark.parametrize(("height", "width"), [(400, 64), (200, 300), (20, 20)])
def test_the_memory_of_a_strip_is_known_before(precision: Precision, height: int, width: int) -> None:
    asked: list[int] = []
    network, picture = model(4), image(height, width)
    span_arch.upscale(
        network, picture, span_arch.Settings(precision=precision), span_arch.Context(room=lambda wanted: asked.append(wanted) or 1 << 40)
    )
    assert 1 / 1.5 <= peak(network, picture, precision) / (asked[0] * strip_runner.MEMORY_SHARE) <= 1.5


@pytest.mark.usefixtures("nothing_but_strips")
def test_memory_does_not_grow_with_rows_or_frames() -> None:
    network = model()
    picture = torch.rand(1, 1, 1, 3)
    low, high = peak(network, picture.expand(1, 300, 64, 3)), peak(network, picture.expand(1, 3000, 64, 3))
    assert high <= 1.1 * low
    few, many = peak(network, picture.expand(2, 60, 64, 3)), peak(network, picture.expand(12, 60, 64, 3))
    assert many <= 1.1 * few
