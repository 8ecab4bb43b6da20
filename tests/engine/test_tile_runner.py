"""Upscaling in tiles: recovery from every failure, and tiles and frames side by side as on a GPU."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import torch
from spandrel import ImageModelDescriptor
from torch import Tensor, nn

import span_arch
from span_arch import Progress, Report, Settings, errors, upscale
from span_arch.engine.memory_footprint import footprint
from span_arch.engine.tile_runner import MEMORY_SHARE, footprint_of
from span_arch.engine.transfer import Transfer

from ..faults import Stop, stop_at
from ..samples import image, small_model, whole
from .doubles import Tiles

FLOAT32 = Settings(precision="float32")

pytestmark = pytest.mark.usefixtures("one_thread")


# Failures


@pytest.mark.parametrize("limit", [6000, 3000, 1500])
def test_out_of_memory_is_answered_by_smaller_tiles(limit: int) -> None:
    network, frames = small_model(), image(120, 130)

    def fail_large(number: int, batch: Tensor, run: Callable[[], Tensor]) -> Tensor:
        if batch.shape[-2] * batch.shape[-1] > limit:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return run()

    tiles = Tiles(fail_large)
    torch.testing.assert_close(upscale(network, frames, FLOAT32, tiles.context()), whole(network, frames), atol=1e-5, rtol=0)
    failed = [area for area in tiles.areas if area > limit]
    assert failed
    assert failed == sorted(set(failed), reverse=True)  # a size that does not fit is not tried twice


def test_only_the_failed_tile_is_redone() -> None:
    network, frames, failures = small_model(), image(64, 256), [1]

    def fail_third(number: int, batch: Tensor, run: Callable[[], Tensor]) -> Tensor:
        if number == 3 and failures:
            failures.pop()
            raise MemoryError
        return run()

    events: list[Progress] = []
    tiles = Tiles(fail_third)
    result = upscale(network, frames, Settings(tile=64, precision="float32"), tiles.context(progress=events.append))
    torch.testing.assert_close(result, whole(network, frames), atol=1e-5, rtol=0)
    assert max(tiles.areas[3:]) <= tiles.areas[2] / 2
    shares = [event.done for event in events]
    assert shares == sorted(shares)
    assert shares[3] == 0.5  # when the third of four tiles is tried again, the first two are still finished


def test_no_memory_at_all_is_an_error() -> None:
    def fail(number: int, batch: Tensor, run: Callable[[], Tensor]) -> Tensor:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    with pytest.raises(errors.OutOfMemoryError, match=r"not enough memory on 'cpu' even for a piece of \d+x\d+ pixels"):
        upscale(small_model(), image(), context=Tiles(fail).context())


def test_other_errors_of_torch_end_the_run() -> None:
    def fail(number: int, batch: Tensor, run: Callable[[], Tensor]) -> Tensor:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    for busy_pixels in (0, 1 << 20):
        tiles = Tiles(fail, busy_pixels)
        with pytest.raises(RuntimeError, match="illegal memory access"):
            upscale(small_model(), image(), context=tiles.context())
        assert len(tiles.shapes) == 1


def test_nan_in_half_precision_is_redone_in_float32_and_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    network, frames, reports = small_model(), image(), list[Report]()

    def overflow(number: int, batch: Tensor, run: Callable[[], Tensor]) -> Tensor:
        return run() if batch.dtype is torch.float32 else torch.full_like(run(), torch.nan)

    with caplog.at_level(logging.WARNING):
        settings = Settings(tile=32, precision="bfloat16")
        result = upscale(network, frames, settings, Tiles(overflow).context(report=reports.append))
    torch.testing.assert_close(result, whole(network, frames), atol=1e-5, rtol=0)
    assert reports[0].recovered.not_finite == 6
    assert str(reports[0]).endswith(" 6 pieces gave NaN or infinity and were redone in float32.")
    assert [record.getMessage() for record in caplog.records] == ["6 pieces gave NaN or infinity and were redone in float32."]


def test_infinity_in_float32_is_an_error() -> None:
    with pytest.raises(errors.NotFiniteError, match="NaN or infinity"):
        upscale(small_model(), image(), context=Tiles(lambda number, batch, run: run() * torch.inf).context())


@pytest.mark.parametrize("fault", ["none", "cancelled", "memory", "NaN"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_model_and_image_are_left_as_they_were(fault: str, precision: str) -> None:
    network, frames = small_model(), image()
    network.model.train()
    before = {key: tensor.clone() for key, tensor in network.model.state_dict().items()}
    addresses = [parameter.data_ptr() for parameter in network.model.parameters()]
    original = frames.clone()

    def meddle(number: int, batch: Tensor, run: Callable[[], Tensor]) -> Tensor:
        if fault == "memory":
            raise MemoryError
        return run() * (torch.nan if fault == "NaN" else 1)

    settings = Settings(tile=32, precision=precision)
    context = Tiles(meddle).context(progress=stop_at(2) if fault == "cancelled" else None)
    expected = {"cancelled": Stop, "memory": errors.OutOfMemoryError, "NaN": errors.NotFiniteError}.get(fault)
    if expected is None:
        upscale(network, frames, settings, context)
    else:
        with pytest.raises(expected):
            upscale(network, frames, settings, context)
    assert network.model.training
    assert [parameter.data_ptr() for parameter in network.model.parameters()] == addresses
    assert all(torch.equal(tensor, before[key]) and tensor.dtype is before[key].dtype for key, tensor in network.model.state_dict().items())
    assert torch.equal(frames, original)


class Identity(nn.Module):
    """A network that returns its input itself."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_network_that_returns_its_input_does_not_change_the_image() -> None:
    module = Identity()
    network = ImageModelDescriptor(module, module.state_dict(), small_model().architecture, "SR", [], True, True, 1, 3, 3)
    frames = image() * 2 - 0.5
    original = frames.clone()
    result = upscale(network, frames, FLOAT32, Tiles().context())
    assert torch.equal(frames, original)
    assert torch.equal(result, original.clamp(0, 1))


# Memory


def test_memory_of_a_network_is_known_before_it_runs() -> None:
    need = footprint(span_arch.load("spanx4_ch48"))
    feature_map = 48 * 4  # bytes per pixel
    assert need.activation == feature_map
    assert 8 * feature_map <= need.peak <= 16 * feature_map


def test_tiles_keep_within_the_free_memory() -> None:
    network, requests = small_model(), list[int]()
    need, tiles = footprint(network).peak, Tiles()

    def room(wanted: int) -> int:
        requests.append(wanted)
        return int(need * 3000)

    upscale(network, image(150, 150), context=tiles.context(room=room))
    assert len(requests) == 1
    assert requests[0] >= need * 150 * 150
    assert max(tiles.areas) <= 3000


# Side by side, as on a GPU


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_frames_run_side_by_side_as_many_as_help(channels: int) -> None:
    network, frames = small_model(), image(40, 60, frames=5, channels=channels)
    one_by_one = upscale(network, frames, FLOAT32)
    tiles = Tiles(busy_pixels=2 * 40 * 60)
    torch.testing.assert_close(upscale(network, frames, FLOAT32, tiles.context()), one_by_one, atol=1e-5, rtol=0)
    assert [shape[0] for shape in tiles.shapes] == [2, 2, 1]


def test_tiles_side_by_side_have_one_shape() -> None:
    network, frames = small_model(), image(100, 150, frames=2)
    tiles = Tiles(busy_pixels=2 << 12)
    room = int(footprint_of(network).peak * 4096 / MEMORY_SHARE)
    result = upscale(network, frames, FLOAT32, tiles.context(room=lambda wanted: room))
    torch.testing.assert_close(result, whole(network, frames), atol=1e-5, rtol=0)
    assert len({shape[2:] for shape in tiles.shapes}) == 1
    assert tiles.shapes[0][2:] != (100, 150)


def test_tiles_of_a_chosen_size_run_alone() -> None:
    tiles = Tiles(busy_pixels=1 << 20)
    upscale(small_model(), image(40, 60, frames=2), Settings(tile=32), tiles.context())
    assert {shape[0] for shape in tiles.shapes} == {1}


def test_one_batch_is_brought_back_while_the_next_is_computed() -> None:
    outstanding: list[int] = []
    most: list[int] = []

    class Slow(Transfer):
        ahead = 1

        def fetch(self, tensor: Tensor, target: torch.device) -> Callable[[], Tensor]:
            outstanding.append(1)
            most.append(len(outstanding))

            def wait() -> Tensor:
                outstanding.pop()
                return tensor

            return wait

    network, frames = small_model(), image(40, 60, frames=4)
    context = Tiles(busy_pixels=1).context(probes={"transfer": Slow})
    torch.testing.assert_close(upscale(network, frames, FLOAT32, context), whole(network, frames), atol=1e-5, rtol=0)
    assert max(most) == 4  # two batches, each a result and its sums
    assert not outstanding


def test_out_of_memory_at_any_batch_runs_its_frames_alone() -> None:
    network, frames = small_model(), image(40, 60, frames=6)
    for fault in (1, 2, 3):

        def fail_once(number: int, batch: Tensor, run: Callable[[], Tensor], fault: int = fault) -> Tensor:
            if number == fault:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return run()

        events: list[Progress] = []
        reports: list[Report] = []
        tiles = Tiles(fail_once, busy_pixels=2 * 40 * 60)
        result = upscale(network, frames, FLOAT32, tiles.context(progress=events.append, report=reports.append))
        torch.testing.assert_close(result, whole(network, frames), atol=1e-5, rtol=0)
        # Frames of the failed batch and all after it run alone. Those before stay finished.
        assert [shape[0] for shape in tiles.shapes] == [2] * fault + [1] * (6 - 2 * (fault - 1))
        shares = [event.done for event in events]
        assert shares == sorted(shares)
        assert reports[0].recovered.out_of_memory == 1


def test_infinity_in_a_batch_is_redone_for_its_frame_alone() -> None:
    network, frames, reports = small_model(), image(40, 60, frames=6), list[Report]()

    def overflow(number: int, batch: Tensor, run: Callable[[], Tensor]) -> Tensor:
        output = run()
        if number == 2:
            output[1, 0, 3, 3] = torch.inf  # which a clamp would turn into white
        return output

    tiles = Tiles(overflow, busy_pixels=3 * 40 * 60)
    result = upscale(network, frames, Settings(precision="bfloat16"), tiles.context(report=reports.append))
    assert [shape[0] for shape in tiles.shapes] == [3, 3, 1]
    torch.testing.assert_close(result[4], whole(network, frames)[4], atol=1e-5, rtol=0)
    assert reports[0].recovered.not_finite == 1


def test_cancelling_at_any_batch_changes_nothing() -> None:
    network, frames = small_model(), image(40, 60, frames=5)
    before = {key: tensor.clone() for key, tensor in network.model.state_dict().items()}
    for last in range(1, 7):
        with pytest.raises(Stop):
            upscale(network, frames, Settings(precision="bfloat16"), Tiles(busy_pixels=1).context(progress=stop_at(last)))
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.model.state_dict().items())
