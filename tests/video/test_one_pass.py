"""Videos upscaled from file to file, compared with their frames upscaled as images."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor

import span_arch
from span_arch import Context, Progress, Settings
from span_arch.archs.span import SPAN
from span_arch.engine.context import Probes
from span_arch.errors import ImageError
from span_arch.image_ops import sizes
from span_arch.models.build import FamilyModel
from span_arch.video import compose, copy_video, probe, upscale_video

from ..engine.doubles import Strips
from ..faults import Stop, stop_at
from ..samples import image, small_model
from .films import FFV1, assert_same, collecting, make, packets, read

pytestmark = pytest.mark.usefixtures("one_thread")


def images_of(path: Path, folder: Path) -> Tensor:
    """Return the frames of a video as images, (B, H, W, C)."""
    images: list[Tensor] = []
    copy_video(path, folder / "copy.mkv", collecting(images), FFV1, overwrite=True)
    return torch.stack(images)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "a.nut"
    compose(path, image(24, 32, frames=7), Fraction(24000, 1001), torch.rand(2, 20_000) - 0.5, 44_100)
    return path


@pytest.mark.parametrize("settings", [Settings(), Settings(size=sizes.Exact(50, 30), filter="area"), Settings(ensemble=True)], ids=str)
def test_a_video_is_upscaled_like_its_frames(source: Path, tmp_path: Path, settings: Settings) -> None:
    events: list[Progress] = []
    report, video = upscale_video(small_model(), source, tmp_path / "b.mkv", settings, FFV1, Context(progress=events.append), count=7)
    expected = span_arch.upscale(small_model(), images_of(source, tmp_path), settings)
    torch.testing.assert_close(images_of(tmp_path / "b.mkv", tmp_path), expected, atol=1 / 65535, rtol=0)
    assert (report.frames, video.frames, video.notes) == (7, 7, ())
    positions = [event.done for event in events]
    assert positions == sorted(positions)
    assert (positions[-1], events[-1].frame, events[-1].frames) == (1, 7, 7)
    info = probe(tmp_path / "b.mkv")
    assert (info.fps, len(info.audio)) == (Fraction(24000, 1001), 1)


def identity() -> FamilyModel:
    """Return a network of scale 1 whose result is its image."""
    state = {
        name: torch.zeros_like(value)
        for name, value in SPAN(feature_channels=8, blocks=2, scale=1, normalisation=None).state_dict().items()
    }
    for channel in range(3):
        for name, middle in (("conv_1.eval_conv", 1), ("conv_cat", 0), ("upsampler.0", 1)):
            state[f"{name}.weight"][channel, channel, middle, middle] = 1
    return span_arch.from_state_dict(state, normalise="none")


@pytest.mark.parametrize(("pixel_format", "tags"), [("yuv420p", (1, 1, 1, 1)), ("yuv444p10le", (9, 9, 16, 1)), ("yuv422p", (5, 6, 6, 2))])
def test_an_identity_network_keeps_every_sample(tmp_path: Path, pixel_format: str, tags: tuple[int, int, int, int]) -> None:
    times = [0, 1, 2, 5, 6, 9, 10, 11]  # uneven, as phones record
    named = dict(zip(("colorspace", "color_primaries", "color_trc", "color_range"), tags, strict=True))
    expected = make(tmp_path / "a.mkv", pixel_format, times=times, tags=named, audio=True, subtitles=True)
    _, video = upscale_video(identity(), tmp_path / "a.mkv", tmp_path / "b.mkv", video=FFV1)
    frames, seconds = read(tmp_path / "b.mkv")
    assert_same(frames, expected)
    assert [second * 25 for second in seconds] == times
    assert all(packets(tmp_path / "b.mkv", kind) == packets(tmp_path / "a.mkv", kind) != [] for kind in ("audio", "subtitle"))
    assert probe(tmp_path / "b.mkv").colour == probe(tmp_path / "a.mkv").colour
    assert video.notes == ()


def test_only_the_window_is_upscaled(tmp_path: Path) -> None:
    source = tmp_path / "a.nut"
    compose(source, image(24, 32, frames=7), Fraction(24))
    report, _ = upscale_video(small_model(), source, tmp_path / "b.mkv", video=FFV1, start=2 / 24, duration=0.1)
    assert report.frames == 3
    expected = span_arch.upscale(small_model(), images_of(source, tmp_path)[2:5])
    torch.testing.assert_close(images_of(tmp_path / "b.mkv", tmp_path), expected, atol=1 / 65535, rtol=0)


@pytest.mark.parametrize("at", [1, 3, 20])
def test_cancelling_leaves_no_file(source: Path, tmp_path: Path, at: int) -> None:
    with pytest.raises(Stop):
        upscale_video(small_model(), source, tmp_path / "b.mkv", Settings(tile=8), context=Context(progress=stop_at(at)))
    assert [path.name for path in tmp_path.iterdir()] == ["a.nut"]


def test_progress_offers_a_preview_of_the_frame_in_work(source: Path, tmp_path: Path) -> None:
    shapes: list[tuple[int, ...]] = []

    def listen(progress: Progress) -> None:
        if (preview := progress.preview()) is not None:
            shapes.append(tuple(preview.shape))

    upscale_video(small_model(), source, tmp_path / "b.mp4", context=Context(progress=listen))
    assert set(shapes) == {(48, 64, 3)}
    assert len(shapes) >= 7


def test_a_frame_that_cannot_be_upscaled_keeps_the_finished_ones(source: Path, tmp_path: Path) -> None:
    def fail_at_fifth(number: int, size: tuple[int, int], rows: Tensor) -> Tensor:
        if number == 5:
            raise ImageError("The image is broken.")
        return rows

    context = Context(probes=Probes(stream=Strips(fail_at_fifth)))
    with pytest.raises(ImageError, match=r"is broken\. The 4 finished frames are in .*b\.part\.mkv"):
        upscale_video(small_model(), source, tmp_path / "b.mkv", video=FFV1, context=context)
    assert len(read(tmp_path / "b.part.mkv")[0]) == 4
    assert probe(tmp_path / "b.part.mkv").width == 64
