"""`upscale_frames`, and the report of an upscale."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from span_arch import Context, Progress, Report, Settings, errors, upscale, upscale_frames
from span_arch.image_ops.sizes import Factor

from .engine.doubles import Tiles
from .samples import image, small_model

pytestmark = pytest.mark.usefixtures("one_thread")


def frames_of(*shapes: tuple[int, int, int]) -> list[Tensor]:
    return [image(*shape)[0] for shape in shapes]


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(tile=16),
        Settings(size=Factor(3), filter="bicubic"),
        Settings(alpha="model", seamless="x", ensemble=True, precision="float32"),
    ],
    ids=str,
)
@pytest.mark.parametrize("busy_pixels", [0, 5000])
def test_frames_equal_images(settings: Settings, busy_pixels: int) -> None:
    context = Tiles(busy_pixels=busy_pixels).context() if busy_pixels else Context()
    frames = frames_of((20, 30, 3), (20, 30, 3), (20, 30, 3), (24, 18, 4), (20, 30, 3))
    results = list(upscale_frames(small_model(), frames, settings, context))
    assert len(results) == len(frames)
    for frame, result in zip(frames, results, strict=True):
        torch.testing.assert_close(result, upscale(small_model(), frame[None], settings, context)[0], atol=1e-5, rtol=0)


def test_no_frame_is_read_before_the_one_before_is_finished() -> None:
    read: list[int] = []

    def frames() -> Iterator[Tensor]:
        for number in range(3):
            read.append(number)
            yield image(20, 30)[0]

    for number, _ in enumerate(upscale_frames(small_model(), frames())):
        assert read == list(range(number + 1))


@pytest.mark.parametrize("count", [None, 4])
def test_progress_counts_frames(count: int | None) -> None:
    events: list[Progress] = []
    list(upscale_frames(small_model(), frames_of(*[(20, 30, 3)] * 4), context=Context(progress=events.append), count=count))
    places = [(event.frame, event.fraction) for event in events]
    assert places == sorted(places)
    assert (places[0], places[-1]) == ((0, 0), (4, 0))
    assert {event.frames for event in events} == {count}
    assert events[-1].done == (1 if count else 0)


def test_preview_shows_the_last_finished_frame() -> None:
    events: list[Progress] = []
    previews: list[Tensor | None] = []

    def listen(event: Progress) -> None:
        events.append(event)
        previews.append(event.preview())

    frames = [torch.full((20, 30, 3), level) for level in (0.2, 0.8)]
    results = list(upscale_frames(small_model(), frames, context=Context(progress=listen)))
    assert previews[0] is None
    for event, preview in zip(events, previews, strict=True):
        if event.frame:
            assert preview is not None
            torch.testing.assert_close(preview, results[event.frame - 1])


def test_bad_frame_ends_the_run_after_all_results_before_it() -> None:
    frames = frames_of((20, 30, 3), (20, 30, 3))
    frames[1][3, 3, 0] = torch.nan
    results = upscale_frames(small_model(), frames)
    assert next(results).shape == (40, 60, 3)
    with pytest.raises(errors.ImageError, match="NaN"):
        next(results)


@pytest.mark.parametrize("fault", [errors.ImageError, errors.VideoError])
def test_frames_that_wait_for_a_batch_are_finished_before_an_error_ends_the_run(fault: type[Exception]) -> None:
    def frames() -> Iterator[Tensor]:
        yield from frames_of((20, 30, 3), (20, 30, 3))
        if fault is errors.VideoError:
            raise fault("The file breaks off.")
        yield torch.full((20, 30, 3), torch.nan)

    results = upscale_frames(small_model(), frames(), context=Tiles(busy_pixels=1 << 20).context())
    assert [next(results).shape for _ in range(2)] == [(40, 60, 3)] * 2
    with pytest.raises(fault):
        next(results)


def test_no_frames_give_no_results() -> None:
    assert not list(upscale_frames(small_model(), []))


def test_report_describes_the_run() -> None:
    reports: list[Report] = []
    upscale(small_model(), image(20, 30, frames=2), Settings(size=Factor(3), precision="float32"), Context(report=reports.append))
    upscale(small_model(), image(20, 30), Settings(tile=16, ensemble=True), Context(report=reports.append))
    twice, tiles = reports
    assert (twice.frames, twice.source, twice.result, twice.passes) == (2, (20, 30), (60, 90), 2)
    assert str(twice).startswith("2 x 30x20 to 90x60 in ")
    assert str(twice).endswith(" frames/s); one strip, float32, 2 passes, cpu.")
    assert str(tiles).endswith("; mean of eight, 4 tiles of 15x10, float32, cpu.")
    assert twice.megapixels_per_second == pytest.approx(2 * 90 * 60 / 1e6 / twice.seconds)


@pytest.mark.parametrize("factor", [1.5, 3, 8])
@pytest.mark.parametrize("channels", [3, 4])
def test_resized_texture_equals_the_middle_of_a_wall(factor: float, channels: int) -> None:
    texture, size = image(16, 24, channels), Factor(factor)
    if channels == 4:
        texture[..., 3] = texture[..., 3].clamp(0.3)
    height, width = round(16 * factor), round(24 * factor)
    wall = upscale(small_model(), texture.repeat(1, 3, 3, 1), Settings(size=size, precision="float32"))
    result = upscale(small_model(), texture, Settings(size=size, seamless="xy", precision="float32"))
    torch.testing.assert_close(result, wall[:, height : 2 * height, width : 2 * width], atol=1e-4, rtol=0)
