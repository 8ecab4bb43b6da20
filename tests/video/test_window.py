"""Windows of a video in time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from span_arch.errors import OptionError, VideoError
from span_arch.video import copy_video

from .films import FFV1, assert_same, av, make, packets, read

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(("start", "duration", "first", "last"), [(0.4, 0, 10, 25), (0.4, 0.2, 10, 15), (0, 0.2, 0, 5), (-0.2, 0, 20, 25)])
@pytest.mark.parametrize(("codec", "suffix"), [("libx264", ".mp4"), ("ffv1", ".mkv")])
def test_a_window_has_the_frames_and_audio_that_begin_in_it(
    tmp_path: Path, codec: str, suffix: str, start: float, duration: float, first: int, last: int
) -> None:
    source = tmp_path / f"a{suffix}"
    make(source, codec=codec, times=list(range(25)), audio=True, options={"qp": "0"} if codec == "libx264" else None)
    before = read(source)[0]
    with av.open(str(source)) as container:
        length = Fraction(container.duration, av.time_base)
    start -= float(length) - 1 if start < 0 else 0
    report = copy_video(source, tmp_path / "b.mkv", settings=FFV1, start=start, duration=duration)
    frames, times = read(tmp_path / "b.mkv")
    assert report.frames == last - first
    assert_same(frames, before[first:last])
    assert [time - times[0] for time in times] == [index * Fraction(1, 25) for index in range(last - first)]
    assert times[0] < Fraction(1, 25)
    audio = packets(tmp_path / "b.mkv", "audio")
    assert abs(float(audio[-1][0] - audio[0][0]) + 0.0213 - (last - first) / 25) < 0.05
    assert {content for _, content in audio} <= {content for _, content in packets(source, "audio")}


def test_a_window_is_found_without_an_index(tmp_path: Path) -> None:
    """MPEG-TS has no index. The only key frame is at the start, and the first time is not 0."""
    times = [3600 * time for time in range(40)]
    make(tmp_path / "a.ts", codec="libx264", times=times, time_base=Fraction(1, 90000), audio=True)
    report = copy_video(tmp_path / "a.ts", tmp_path / "b.mkv", settings=FFV1, start=0.4, duration=0.2)
    frames, found = read(tmp_path / "b.mkv")
    assert_same(frames, read(tmp_path / "a.ts")[0][10:15])
    assert [time - found[0] for time in found] == [index * Fraction(1, 25) for index in range(5)]
    assert report.notes == ()


def test_a_window_without_a_frame_is_reported(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", times=[0, 100])
    with pytest.raises(VideoError, match=r"has no frame that begins in the window from 1\.000 s on"):
        copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", start=1, duration=1)


def test_impossible_windows_are_reported(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv")
    with pytest.raises(OptionError, match=r"start is at 3 s, but .*a\.mkv only lasts 0\.200"):
        copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", start=3)
    with pytest.raises(OptionError, match="duration is -1"):
        copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", duration=-1)
