"""`upscale_video`, from file to file; `compose`, from frames to a file; and the headroom that goes around the network."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor

import span_arch
from span_arch import Context, FamilyModel, Progress, Settings, errors, upscale
from span_arch.archs.span import SPAN
from span_arch.image_ops.resize import Resize
from span_arch.image_ops.sizes import Exact, Factor, Size, route
from span_arch.video import compose, copy_video, probe, upscale_video
from span_arch.video.headroom import Headroom

from ..engine.doubles import Strips
from ..faults import Stop, stop_at
from ..samples import image, small_model
from .films import FFV1, assert_same, make, packets, read

pytestmark = pytest.mark.usefixtures("one_thread")


def frames_of(path: Path, folder: Path) -> Tensor:
    """Return the frames of a video, (B, H, W, C)."""
    frames: list[Tensor] = []

    def collect(stream: Iterator[Tensor]) -> Iterator[Tensor]:
        for frame in stream:
            frames.append(frame.clone())
            yield frame

    copy_video(path, folder / "copy.mkv", collect, FFV1, overwrite=True)
    return torch.stack(frames)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    compose(tmp_path / "film.nut", image(24, 32, frames=7), Fraction(24000, 1001), torch.rand(2, 20_000) - 0.5, 44_100)
    return tmp_path / "film.nut"


@pytest.mark.parametrize("settings", [Settings(), Settings(size=Exact(50, 30), filter="area"), Settings(ensemble=True)], ids=str)
def test_video_is_upscaled_as_its_frames_are(film: Path, tmp_path: Path, settings: Settings) -> None:
    events: list[Progress] = []
    context = Context(progress=events.append)
    report, video_report = upscale_video(small_model(), film, tmp_path / "large.mkv", settings, FFV1, context, count=7)
    expected = upscale(small_model(), frames_of(film, tmp_path), settings)
    torch.testing.assert_close(frames_of(tmp_path / "large.mkv", tmp_path), expected, atol=1 / 65535, rtol=0)
    assert (report.frames, video_report.frames, video_report.notes) == (7, 7, ())
    shares = [event.done for event in events]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    preview = events[-1].preview()
    assert preview is not None
    torch.testing.assert_close(preview, expected[-1], atol=1 / 65535, rtol=0)
    info = probe(tmp_path / "large.mkv")
    assert (info.fps, len(info.audio)) == (Fraction(24000, 1001), 1)


def identity() -> FamilyModel:
    """Return a model of scale 1 that returns its image."""
    state = {
        name: torch.zeros_like(value)
        for name, value in SPAN(feature_channels=8, blocks=2, scale=1, normalisation=None).state_dict().items()
    }
    for channel in range(3):
        for name, middle in (("conv_1.eval_conv", 1), ("conv_cat", 0), ("upsampler.0", 1)):
            state[f"{name}.weight"][channel, channel, middle, middle] = 1
    return span_arch.from_state_dict(state, normalise="none")


@pytest.mark.parametrize(("pixel_format", "tags"), [("yuv420p", (1, 1, 1, 1)), ("yuv444p10le", (9, 9, 16, 1)), ("yuv422p", (5, 6, 6, 2))])
def test_identity_network_gives_the_same_video(tmp_path: Path, pixel_format: str, tags: tuple[int, int, int, int]) -> None:
    times = [0, 1, 2, 5, 6, 9, 10, 11]  # as phones record them
    named = dict(zip(("colorspace", "color_primaries", "color_trc", "color_range"), tags, strict=True))
    expected = make(tmp_path / "a.mkv", pixel_format, times=times, tags=named, audio=True, subtitles=True)
    _, video_report = upscale_video(identity(), tmp_path / "a.mkv", tmp_path / "b.mkv", video=FFV1)
    frames, found_times = read(tmp_path / "b.mkv")
    assert_same(frames, expected)
    assert [time * 25 for time in found_times] == times
    assert all(packets(tmp_path / "b.mkv", kind) == packets(tmp_path / "a.mkv", kind) != [] for kind in ("audio", "subtitle"))
    assert probe(tmp_path / "b.mkv").colour == probe(tmp_path / "a.mkv").colour
    assert video_report.notes == ()


@pytest.mark.parametrize("size", [None, Factor(4), Factor(1.5), Exact(40, 40, "fill")], ids=str)
def test_headroom_is_resized_and_added_to_the_result(size: Size | None) -> None:
    frame = torch.full((16, 20, 3), 0.5)
    frame[4:8, 5:10], frame[8:12, 5:10, 2], frame[0, 0] = 1.09, -0.8, 2.1
    headroom = Headroom(size, 2)
    removed = torch.stack(list(headroom.remove(iter([frame, frame.clamp(0, 1)]))))
    assert torch.equal(removed, frame.clamp(0, 1).expand_as(removed))
    plan = route(size, 16, 20, 2)
    results = list(headroom.restore(iter([torch.ones(*plan.size, 3), torch.ones(*plan.size, 3)])))
    assert torch.equal(results[1], torch.ones_like(results[1]))
    resize = Resize("area", (16, 20), plan.whole, plan.size)
    over, under = torch.empty(3, *plan.size), torch.empty(3, *plan.size)
    resize(torch.relu(frame - 1).movedim(-1, 0) / 4, over)
    resize(torch.relu(-frame).movedim(-1, 0) / 4, under)
    torch.testing.assert_close(results[0], 1 + 4 * (over - under).movedim(0, -1), atol=1e-6, rtol=0)


def test_only_the_window_is_upscaled(tmp_path: Path) -> None:
    film = tmp_path / "film.nut"
    compose(film, image(24, 32, frames=7), Fraction(24))
    report, _ = upscale_video(small_model(), film, tmp_path / "part.mkv", video=FFV1, start=2 / 24, duration=0.1)
    assert report.frames == 3
    large = upscale(small_model(), frames_of(film, tmp_path)[2:5])
    torch.testing.assert_close(frames_of(tmp_path / "part.mkv", tmp_path), large, atol=1 / 65535, rtol=0)


@pytest.mark.parametrize("call", [1, 3, 20])
def test_cancelling_at_any_time_leaves_no_file(film: Path, tmp_path: Path, call: int) -> None:
    with pytest.raises(Stop):
        upscale_video(small_model(), film, tmp_path / "large.mkv", Settings(tile=8), context=Context(progress=stop_at(call)))
    assert {path.name for path in tmp_path.iterdir()} == {"film.nut"}


def test_frame_that_cannot_be_upscaled_keeps_the_finished_ones(film: Path, tmp_path: Path) -> None:
    per_frame = Strips()
    upscale(small_model(), image(24, 32), context=per_frame.context())

    def fail_fifth_frame(number: int, size: tuple[int, int], rows: Tensor) -> Tensor:
        return rows * torch.nan if number > 4 * len(per_frame.sizes) else rows

    context = Strips(fail_fifth_frame).context()
    with pytest.raises(errors.NotFiniteError, match=r"4 finished frames are in .*large\.part\.mkv"):
        upscale_video(small_model(), film, tmp_path / "large.mkv", video=FFV1, context=context)
    assert probe(tmp_path / "large.part.mkv").width == 64


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(30000, 1001), Fraction(25, 2)])
@pytest.mark.parametrize(("channels", "sound"), [(1, None), (3, 1), (4, 6), (3, 5)])
def test_composed_video_loses_nothing(tmp_path: Path, rate: Fraction, channels: int, sound: int | None) -> None:
    frames = torch.rand(5, 18, 34, channels)
    compose(tmp_path / "made.nut", frames, rate, None if sound is None else torch.rand(sound, 500_000) - 0.5, 48_000)
    colours = frames[..., :3].expand(5, 18, 34, 3)
    torch.testing.assert_close(frames_of(tmp_path / "made.nut", tmp_path), colours, atol=1 / 65535, rtol=0)
    info = probe(tmp_path / "made.nut")
    assert info.fps == rate
    assert [audio.channels for audio in info.audio] == ([] if sound is None else [sound if sound in (1, 6) else 1])
    assert float(info.duration) == pytest.approx(5 / float(rate), abs=0.1)
