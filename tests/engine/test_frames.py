"""Frames as they come, and what is told of an upscale."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

import span_arch
from span_arch import Report, Settings, errors
from span_arch.engine import tile_runner
from span_arch.image_ops import sizes

from .test_upscale import Patched, image, model

pytestmark = pytest.mark.usefixtures("one_thread")


def of_sizes(*shapes: tuple[int, int, int]) -> list[Tensor]:
    return [image(*shape)[0] for shape in shapes]


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(tile=16),
        Settings(size=sizes.Factor(3), filter="bicubic"),
        Settings(alpha="model", seamless="x", ensemble=True, precision="float32"),
    ],
    ids=str,
)
@pytest.mark.parametrize("side_by_side", [0, 5000])
def test_frames_come_out_as_images_do(settings: Settings, side_by_side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if side_by_side:
        monkeypatch.setattr(tile_runner, "together", lambda device: side_by_side)
        monkeypatch.setattr("span_arch.engine.select.plan_for", lambda model: None)
    frames = of_sizes((20, 30, 3), (20, 30, 3), (20, 30, 3), (24, 18, 4), (20, 30, 3))
    results = list(span_arch.upscale_frames(model(), frames, settings))
    assert len(results) == len(frames)
    for frame, result in zip(frames, results, strict=True):
        torch.testing.assert_close(result, span_arch.upscale(model(), frame[None], **vars(settings))[0], atol=1e-5, rtol=0)


def test_no_frame_is_asked_for_before_the_last_one_is_done() -> None:
    asked: list[int] = []

    def frames() -> Iterator[Tensor]:
        for number in range(3):
            asked.append(number)
            yield image(20, 30)[0]

    for number, _ in enumerate(span_arch.upscale_frames(model(), frames())):
        assert asked == list(range(number + 1))


@pytest.mark.parametrize("count", [0, 4])
def test_progress_of_frames(count: int) -> None:
    told: list[tuple[int, int]] = []
    frames = of_sizes(*[(20, 30, 3)] * 4)
    list(span_arch.upscale_frames(model(), frames, context=span_arch.Context(progress=lambda *step: told.append(step)), count=count))
    assert told == sorted(told)
    assert told[-1] == (2400, 2400)
    assert not count or {total for _, total in told} == {2400}


def test_a_frame_that_cannot_be_upscaled_ends_it_when_all_before_are_there() -> None:
    frames = of_sizes((20, 30, 3), (20, 30, 3))
    frames[1][3, 3, 0] = torch.nan
    results = span_arch.upscale_frames(model(), frames)
    assert next(results).shape == (40, 60, 3)
    with pytest.raises(errors.ImageError, match="1 values that are NaN"):
        next(results)


def test_nothing_comes_of_nothing() -> None:
    assert not list(span_arch.upscale_frames(model(), []))


def test_what_is_told_at_the_end() -> None:
    reports: list[Report] = []
    span_arch.upscale(
        model(),
        image(20, 30, frames=2),
        span_arch.Settings(size=sizes.Factor(3), precision="float32"),
        span_arch.Context(report=reports.append),
    )
    span_arch.upscale(model(), image(20, 30), span_arch.Settings(tile=16), span_arch.Context(report=reports.append))
    (twice, tiles) = reports
    assert (twice.frames, twice.source, twice.result, twice.passes) == (2, (20, 30), (60, 90), 2)
    assert str(twice).startswith("2 x 30x20 to 90x60 in ")
    assert str(twice).endswith(" frames/s); one strip, float32, 2 passes, cpu.")
    assert str(tiles).endswith("; 4 tiles of 15x10, float32, cpu.")
    assert twice.megapixels_per_second == pytest.approx(2 * 90 * 60 / 1e6 / twice.seconds)


def test_what_had_to_be_redone_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[Report] = []
    network = model()
    span_arch.upscale(network, image(), span_arch.Settings(tile=32))  # how far it sees is known from now on
    Patched(monkeypatch, lambda forward, x: forward(x) * (torch.nan if x.dtype is torch.bfloat16 else 1))
    span_arch.upscale(network, image(), span_arch.Settings(tile=32, precision="bfloat16"), span_arch.Context(report=reports.append))
    assert reports[0].redone == ("6 tiles came out as NaN or infinity in bfloat16 and were redone in float32.",)
    assert str(reports[0]).endswith(reports[0].redone[0])


@pytest.mark.parametrize("factor", [1.5, 3, 8])
@pytest.mark.parametrize("channels", [3, 4])
def test_a_texture_of_another_size_still_comes_out_as_in_the_midst_of_many(factor: float, channels: int) -> None:
    texture, size = image(16, 24, channels), sizes.Factor(factor)
    if channels == 4:
        texture[..., 3] = texture[..., 3].clamp(0.3)
    height, width = round(16 * factor), round(24 * factor)
    wall = span_arch.upscale(model(), texture.repeat(1, 3, 3, 1), span_arch.Settings(size=size, precision="float32"))
    result = span_arch.upscale(model(), texture, span_arch.Settings(size=size, seamless="xy", precision="float32"))
    torch.testing.assert_close(result, wall[:, height : 2 * height, width : 2 * width], atol=1e-4, rtol=0)
