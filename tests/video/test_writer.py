"""Times and tags of written frames."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from span_arch.video import Note, VideoSettings, copy_video, probe
from span_arch.video.colour import Colour

from .films import FFV1, av, doubled, make, read

pytestmark = pytest.mark.usefixtures("one_thread")

SQUARES = [0, 1, 4, 9, 16, 17, 30]
"""Uneven times in units of 1/25 s."""


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_times_stay(tmp_path: Path, codec: str, suffix: str) -> None:
    make(tmp_path / "a.mkv", times=[40 * time for time in SQUARES], time_base=Fraction(1, 1000), size=(64, 64))
    copy_video(tmp_path / "a.mkv", tmp_path / f"b{suffix}", settings=VideoSettings(codec=codec))
    assert read(tmp_path / f"b{suffix}")[1] == [time * Fraction(1, 25) for time in SQUARES] == read(tmp_path / "a.mkv")[1]


@pytest.mark.parametrize("codec", ["av1", "vp9"])
def test_the_duration_of_the_last_frame_stays(tmp_path: Path, codec: str) -> None:
    """This does not hold for codecs that reorder frames, because an MP4 ends with the frame that is decoded last."""
    options = {"bf": "0"}  # frames in the order of time, so that the last packet is the last frame
    times = [40 * time for time in SQUARES]
    make(tmp_path / "a.mp4", codec="libx264", times=times, time_base=Fraction(1, 1000), size=(64, 64), options=options)
    copy_video(tmp_path / "a.mp4", tmp_path / "b.mp4", settings=VideoSettings(codec=codec))

    def duration(path: Path) -> Fraction:
        with av.open(str(path)) as container:
            return Fraction(container.duration, av.time_base)

    assert duration(tmp_path / "b.mp4") == duration(tmp_path / "a.mp4") == SQUARES[-1] * Fraction(1, 25) + Fraction(1, 25)


def test_times_of_a_fine_time_base_stay(tmp_path: Path) -> None:
    times = [0, 3003, 6007, 9009, 14000]
    make(tmp_path / "a.mp4", codec="libx264", times=times, time_base=Fraction(1, 90000))
    copy_video(tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert read(tmp_path / "b.mp4")[1] == [Fraction(time, 90000) for time in times]


@pytest.mark.parametrize("tags", [(9, 1, 9, 16), (1, 2, 1, 1), (5, 1, 5, 6)])
@pytest.mark.parametrize(
    ("codec", "suffix"), [("h264", ".mp4"), ("h264", ".mkv"), ("hevc", ".mp4"), ("av1", ".mp4"), ("vp9", ".mp4"), ("prores", ".mov")]
)
def test_colour_tags_and_pixel_shape_stay(tmp_path: Path, codec: str, suffix: str, tags: tuple[int, int, int, int]) -> None:
    matrix, colour_range, primaries, transfer = tags
    if codec == "prores":
        colour_range = 1  # the only one that it stores
    named = {"colorspace": matrix, "color_range": colour_range, "color_primaries": primaries, "color_trc": transfer}
    pixel_format = "yuv422p10le" if codec == "prores" else "yuv420p"
    make(tmp_path / "a.mkv", pixel_format, codec="libx264", tags=named, ratio=Fraction(4, 3), size=(64, 64))
    report = copy_video(tmp_path / "a.mkv", tmp_path / f"b{suffix}", doubled, VideoSettings(codec=codec))
    assert report.notes == ()
    info = probe(tmp_path / f"b{suffix}")
    assert info.colour == Colour(matrix, colour_range == 2, primaries, transfer)
    assert info.sample_aspect_ratio == Fraction(4, 3)


def test_a_lost_pixel_shape_is_noted(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", codec="libx264", ratio=Fraction(4, 3))
    report = copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", settings=FFV1)
    assert report.notes == (Note.of("no pixel shape", suffix=".mkv"),)
