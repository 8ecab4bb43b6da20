"""Reading of frames: broken, incomplete, rotated, growing, and with alpha."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from span_arch.errors import VideoError
from span_arch.video import Note, VideoSettings, copy_video, plan_segments, probe
from span_arch.video.demuxer import Demuxer
from span_arch.video.reader import VideoReader
from span_arch.video.source import opened

from .films import FFV1, FRAMES, HEIGHT, LOSSLESS, WIDTH, assert_same, av, collecting, damage, film, make, outputs, read, turn

pytestmark = pytest.mark.usefixtures("one_thread")


def test_broken_frames_are_left_out_and_counted(tmp_path: Path) -> None:
    expected = make(tmp_path / "a.mov", "rgb24", codec="png", times=list(range(6)))
    damage(tmp_path / "a.mov", {1, 4})
    report = copy_video(tmp_path / "a.mov", tmp_path / "b.mkv", settings=FFV1)
    frames, times = read(tmp_path / "b.mkv")
    assert (report.frames, report.broken) == (4, 2)
    assert "2 frames could not be decoded" in str(report)
    assert_same(frames, [expected[index] for index in (0, 2, 3, 5)])
    assert times == [index * Fraction(1, 25) for index in (0, 2, 3, 5)]


def test_a_video_of_broken_frames_only_is_reported(tmp_path: Path) -> None:
    make(tmp_path / "a.mov", "rgb24", codec="png")
    damage(tmp_path / "a.mov", set(range(FRAMES)))
    with pytest.raises(VideoError, match="has no frame that can be decoded"):
        copy_video(tmp_path / "a.mov", tmp_path / "b.mkv")
    assert outputs(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mkv", "ffv1"), ("a.webm", "libvpx-vp9"), ("a.mp4", "libx264"), ("a.mov", "mpeg4"), ("a.avi", "mpeg4"), ("a.flv", "flv")],
)
def test_an_incomplete_source_is_reported_and_its_frames_are_kept(tmp_path: Path, name: str, codec: str) -> None:
    make(tmp_path / name, codec=codec, times=list(range(50)))
    if name in ("a.mp4", "a.mov"):
        move_index_to_front(tmp_path / name)
    copy_video(tmp_path / name, tmp_path / "whole.mkv", settings=FFV1)
    expected, _ = read(tmp_path / "whole.mkv")
    assert len(expected) == 50
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) * 6 // 10])
    calls: list[Callable[[], object]] = [
        lambda: copy_video(tmp_path / name, tmp_path / "b.mkv", settings=FFV1),
        lambda: plan_segments(tmp_path / name),
    ]
    for call in calls:
        with pytest.raises(VideoError, match=r"breaks off after \d\.\d s of 2\.0 s"):
            call()
    frames, _ = read(tmp_path / "b.part.mkv")
    assert 20 <= len(frames) <= 32
    assert_same(frames[:20], expected[:20])
    assert outputs(tmp_path) == ["b.part.mkv", "whole.mkv"]
    report = copy_video(tmp_path / name, tmp_path / "c.mkv", settings=FFV1, duration=0.6)
    assert (report.frames, report.notes) == (15, ())


def move_index_to_front(path: Path) -> None:
    """Rewrite an MP4 in the layout for the web, so that its beginning is readable alone."""
    with av.open(str(path)) as source, av.open(str(path.with_suffix(".web" + path.suffix)), "w", options={"movflags": "faststart"}) as web:
        stream = web.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                web.mux(packet)
    path.with_suffix(".web" + path.suffix).replace(path)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_a_long_last_frame_does_not_count_as_incomplete(tmp_path: Path, name: str) -> None:
    make(tmp_path / name, codec="libx264", times=[0, 100, 200, 300], time_base=Fraction(1, 25), audio=True)
    assert copy_video(tmp_path / name, tmp_path / "b.mkv", settings=FFV1).frames == 4


class Failing:
    """A container whose reading fails after a number of packets."""

    def __init__(self, container: Any, after: int) -> None:
        self._container, self._after = container, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def demux(self, *streams: Any) -> Iterator[Any]:
        yield from islice(self._container.demux(*streams), self._after)
        raise av.error.FFmpegError(5, "Input/output error")


def test_a_read_error_is_reported_and_never_skipped(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv")
    (whole,) = plan_segments(path)
    with opened(path) as container:
        demuxer = Demuxer(Failing(container, 5), "a.mkv", segment=whole)  # pyright: ignore[reportArgumentType]
        with pytest.raises(VideoError, match=r"breaks off after .*Input/output error"):
            list(VideoReader(demuxer))
    with opened(path) as container:
        demuxer = Demuxer(Failing(container, 5), "a.mkv")  # pyright: ignore[reportArgumentType]
        with pytest.raises(VideoError, match=r"breaks off after .*Input/output error"):
            list(demuxer.other_packets())


def make_growing(path: Path) -> None:
    """Write a video of two sizes. MJPEG stores the size in each frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        large = av.CodecContext.create("mjpeg", "w")
        large.width, large.height, large.pix_fmt, large.time_base = 64, 64, "yuvj420p", Fraction(1, 25)
        for index in range(6):
            frame = av.VideoFrame(WIDTH, HEIGHT, "yuvj420p") if index < 4 else av.VideoFrame(64, 64, "yuvj420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            for packet in stream.encode(frame) if index < 4 else large.encode(frame):
                packet.stream = stream
                container.mux(packet)


def test_a_change_of_size_is_reported_and_the_finished_frames_are_kept(tmp_path: Path) -> None:
    make_growing(tmp_path / "a.mkv")
    with pytest.raises(VideoError, match=r"from 48x32 to 64x64.*The 4 finished frames are in .*b\.part\.mp4"):
        copy_video(tmp_path / "a.mkv", tmp_path / "b.mp4")
    assert outputs(tmp_path) == ["b.part.mp4"]
    assert len(read(tmp_path / "b.part.mp4")[0]) == 4


def test_alpha_of_vp9_is_written_and_read(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", "yuva420p")
    copy_video(tmp_path / "a.mkv", tmp_path / "b.webm", settings=VideoSettings(codec="vp9"))
    images: list[Tensor] = []
    copy_video(tmp_path / "b.webm", tmp_path / "c.webm", collecting(images), VideoSettings(codec="vp9"))
    assert [image.shape[2] for image in images] == [4] * FRAMES
    assert probe(tmp_path / "c.webm").alpha


def test_missing_hdr10_metadata_is_noted(tmp_path: Path) -> None:
    display = "log-level=error:hdr10=1:max-cll=1000,400:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    tags = {"color_primaries": 9, "color_trc": 16, "colorspace": 9}
    make(tmp_path / "a.mkv", "yuv420p10le", codec="libx265", size=(64, 64), tags=tags, options={"x265-params": display})
    report = copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", settings=FFV1)
    assert report.notes == (Note("no HDR10 metadata"),)
    assert probe(tmp_path / "b.mkv").pixel_format == "yuv420p10le"


@pytest.mark.parametrize(("matrix", "quarters"), [((0, -1, 1, 0), 1), ((-1, 0, 0, -1), 2), ((0, 1, -1, 0), 3)])
def test_frames_are_rotated_as_players_display_them(tmp_path: Path, matrix: tuple[int, int, int, int], quarters: int) -> None:
    expected = make(tmp_path / "a.mp4", "yuv444p", codec="libx264", options={"qp": "0"}, ratio=Fraction(4, 3))
    turn(tmp_path / "a.mp4", matrix)
    assert probe(tmp_path / "a.mp4").rotation == 90 * quarters
    copy_video(tmp_path / "a.mp4", tmp_path / "b.mp4", settings=LOSSLESS)
    before, after = probe(tmp_path / "a.mp4"), probe(tmp_path / "b.mp4")
    assert after.rotation == 0
    assert (after.width, after.height, after.sample_aspect_ratio) == (before.width, before.height, before.sample_aspect_ratio)
    assert before.sample_aspect_ratio == (Fraction(3, 4) if quarters % 2 else Fraction(4, 3))
    assert_same(read(tmp_path / "b.mp4")[0], [[np.rot90(plane, quarters) for plane in frame] for frame in expected])
