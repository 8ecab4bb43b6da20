"""Videos, upscaled from file to file; and videos made of frames."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor

import span_arch
from span_arch import Settings, errors
from span_arch.archs.span import SPAN
from span_arch.image_ops import sizes
from span_arch.image_ops.resize import Resize
from span_arch.models.build import FamilyModel
from span_arch.video import VideoSettings, compose, copy_video, probe, upscale_video
from span_arch.video.headroom import Beyond

from ..faults import Stop
from ..samples import image, model
from ..video.test_video_files import assert_same, make, packets, read

pytest.importorskip("av", reason="PyAV is not installed")
pytestmark = pytest.mark.usefixtures("one_thread")

LOSSLESS = VideoSettings("ffv1")


def frames_of(path: Path, folder: Path) -> Tensor:
    """(B, H, W, C)"""
    seen: list[Tensor] = []

    def look(frames):
        for frame in frames:
            seen.append(frame.clone())
            yield frame

    copy_video(path, folder / "looked.mkv", look, LOSSLESS, overwrite=True)
    return torch.stack(seen)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    compose(tmp_path / "film.nut", image(24, 32, frames=7), Fraction(24000, 1001), torch.rand(2, 20_000) - 0.5, 44_100)
    return tmp_path / "film.nut"


@pytest.mark.parametrize("settings", [Settings(), Settings(size=sizes.Exact(50, 30), filter="area"), Settings(ensemble=True)], ids=str)
def test_a_video_is_upscaled_as_its_frames_are(film: Path, tmp_path: Path, settings: Settings) -> None:
    told: list[tuple[int, int]] = []
    report, written = upscale_video(
        model(),
        film,
        tmp_path / "large.mkv",
        settings,
        LOSSLESS,
        context=span_arch.Context(progress=lambda *step: told.append(step)),
        count=7,
    )
    expected = span_arch.upscale(model(), frames_of(film, tmp_path), **vars(settings))
    torch.testing.assert_close(frames_of(tmp_path / "large.mkv", tmp_path), expected, atol=1 / 65535, rtol=0)
    assert (report.frames, written.frames, written.warnings) == (7, 7, ())
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    info = probe(tmp_path / "large.mkv")
    assert (info.fps, len(info.audio)) == (Fraction(24000, 1001), 1)


def identity() -> FamilyModel:
    """A network of scale 1 that gives its image as it is."""
    state = {
        name: torch.zeros_like(value)
        for name, value in SPAN(feature_channels=8, blocks=2, scale=1, normalisation=None).state_dict().items()
    }
    for channel in range(3):
        for name, middle in (("conv_1.eval_conv", 1), ("conv_cat", 0), ("upsampler.0", 1)):
            state[f"{name}.weight"][channel, channel, middle, middle] = 1
    return span_arch.from_state_dict(state, normalise="none")


@pytest.mark.parametrize(("pixel_format", "tags"), [("yuv420p", (1, 1, 1, 1)), ("yuv444p10le", (9, 9, 16, 1)), ("yuv422p", (5, 6, 6, 2))])
def test_a_network_that_changes_nothing_changes_nothing(tmp_path: Path, pixel_format: str, tags: tuple[int, int, int, int]) -> None:
    times = [0, 1, 2, 5, 6, 9, 10, 11]  # as a phone has them
    named = dict(zip(("colorspace", "color_primaries", "color_trc", "color_range"), tags, strict=True))
    expected = make(tmp_path / "a.mkv", pixel_format, times=times, tags=named, audio=True, subtitles=True)
    _, told = upscale_video(identity(), tmp_path / "a.mkv", tmp_path / "b.mkv", video=LOSSLESS)
    frames, seen = read(tmp_path / "b.mkv")
    assert_same(frames, expected)
    assert [time * 25 for time in seen] == times
    assert all(packets(tmp_path / "b.mkv", kind) == packets(tmp_path / "a.mkv", kind) != [] for kind in ("audio", "subtitle"))
    assert probe(tmp_path / "b.mkv").colour == probe(tmp_path / "a.mkv").colour
    assert told.warnings == ()


@pytest.mark.parametrize("size", [None, sizes.Factor(4), sizes.Factor(1.5), sizes.Exact(40, 40, "fill")], ids=str)
def test_whites_above_white_stay_where_they_are(size: sizes.Size | None) -> None:
    frame = torch.full((16, 20, 3), 0.5)
    frame[4:8, 5:10], frame[8:12, 5:10, 2], frame[0, 0] = 1.09, -0.8, 2.1
    beyond = Beyond(size, 2)
    shown = torch.stack(list(beyond.taken_off(iter([frame, frame.clamp(0, 1)]))))
    assert torch.equal(shown, frame.clamp(0, 1).expand_as(shown))
    way = sizes.route(size, 16, 20, 2)
    results = list(beyond.put_on(iter([torch.ones(*way.size, 3), torch.ones(*way.size, 3)])))
    assert torch.equal(results[1], torch.ones_like(results[1]))
    exactly = Resize("area", (16, 20), way.whole, way.size)
    over = torch.empty(3, *way.size)
    exactly(torch.relu(frame - 1).movedim(-1, 0) / 4, over)
    under = torch.empty(3, *way.size)
    exactly(torch.relu(-frame).movedim(-1, 0) / 4, under)
    torch.testing.assert_close(results[0], 1 + 4 * (over - under).movedim(0, -1), atol=1e-6, rtol=0)


def test_the_window_is_upscaled_alone(tmp_path: Path) -> None:
    film = tmp_path / "film.nut"
    compose(film, image(24, 32, frames=7), Fraction(24))
    report, _ = upscale_video(model(), film, tmp_path / "part.mkv", video=LOSSLESS, start=2 / 24, duration=0.1)
    assert report.frames == 3
    large = span_arch.upscale(model(), frames_of(film, tmp_path)[2:5])
    torch.testing.assert_close(frames_of(tmp_path / "part.mkv", tmp_path), large, atol=1 / 65535, rtol=0)


@pytest.mark.parametrize("at", [1, 3, 20])
def test_cancelled_at_any_time_nothing_is_left(film: Path, tmp_path: Path, at: int) -> None:
    steps = iter(range(1, 1000))

    def progress(done: int, total: int) -> None:
        if next(steps) == at:
            raise Stop

    with pytest.raises(Stop):
        upscale_video(model(), film, tmp_path / "large.mkv", Settings(tile=8), context=span_arch.Context(progress=progress))
    assert {path.name for path in tmp_path.iterdir()} == {"film.nut"}


def test_finished_frames_are_looked_at(film: Path, tmp_path: Path) -> None:
    shapes: list[tuple[int, ...]] = []

    def look(frames):
        for frame in frames:
            shapes.append(tuple(frame.shape))
            yield frame

    upscale_video(model(), film, tmp_path / "large.mp4", look=look)
    assert shapes == [(48, 64, 3)] * 7


def test_a_video_in_which_a_frame_cannot_be_upscaled_keeps_what_is_done(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(frame: Tensor) -> None:
        if next(numbers) == 4:
            raise errors.ImageError("The image is not to my liking.")

    numbers = iter(range(100))
    monkeypatch.setattr(sys.modules["span_arch.upscale"], "check_image", check)
    with pytest.raises(errors.ImageError, match=r"not to my liking. The 4 frames that were finished are in '.*large.part.mkv'"):
        upscale_video(model(), film, tmp_path / "large.mkv", video=LOSSLESS)
    assert probe(tmp_path / "large.part.mkv").width == 64


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(30000, 1001), Fraction(25, 2)])
@pytest.mark.parametrize(("channels", "sound"), [(1, None), (3, 1), (4, 6), (3, 5)])
def test_a_video_is_made_of_frames_without_a_loss(tmp_path: Path, rate: Fraction, channels: int, sound: int | None) -> None:
    frames = torch.rand(5, 18, 34, channels)
    compose(tmp_path / "made.nut", frames, rate, None if sound is None else torch.rand(sound, 500_000) - 0.5, 48_000)
    colours = frames[..., :3].expand(5, 18, 34, 3)
    torch.testing.assert_close(frames_of(tmp_path / "made.nut", tmp_path), colours, atol=1 / 65535, rtol=0)
    info = probe(tmp_path / "made.nut")
    assert info.fps == rate
    assert [audio.channels for audio in info.audio] == ([] if sound is None else [sound if sound in (1, 6) else 1])
    assert float(info.duration) == pytest.approx(5 / float(rate), abs=0.1)
