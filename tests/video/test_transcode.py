"""Whole files: exact copies, errors, progress, and threads that wait for each other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from torch import Tensor

from span_arch.engine.progress import Progress
from span_arch.errors import NotFiniteError, OutputError, VideoError
from span_arch.video import VideoSettings, copy_video, probe
from span_arch.video.demuxer import Demuxer
from span_arch.video.encoding import choose_encoding
from span_arch.video.reader import VideoFrame, VideoReader
from span_arch.video.source import opened
from span_arch.video.transcode import run
from span_arch.video.window import TimedPacket
from span_arch.video.writer import VideoWriter

from ..faults import Stop, stop_at
from .films import FFV1, FRAMES, HEIGHT, LOSSLESS, WIDTH, assert_same, av, doubled, make, outputs, packets, read

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    "pixel_format",
    ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv444p10le", "yuv422p12le", "yuv444p16le", "yuva420p", "yuva444p10le", "bgr0",
     "bgra", "gbrp10le", "gray", "gray16le"],
)  # fmt: skip
@pytest.mark.parametrize("tags", [{}, {"colorspace": 9, "color_range": 1}, {"colorspace": 1, "color_range": 2}])
def test_a_lossless_copy_is_exact(tmp_path: Path, pixel_format: str, tags: dict[str, int]) -> None:
    expected = make(tmp_path / "a.mkv", pixel_format, tags=tags)
    report = copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", settings=FFV1)
    assert_same(read(tmp_path / "b.mkv")[0], expected)
    assert (report.frames, report.broken, report.notes) == (FRAMES, 0, ())
    assert probe(tmp_path / "b.mkv").pixel_format == probe(tmp_path / "a.mkv").pixel_format


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p"])
def test_h264_of_quality_0_is_exact(tmp_path: Path, pixel_format: str) -> None:
    expected = make(tmp_path / "a.mkv", pixel_format)
    copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", settings=LOSSLESS)
    assert_same(read(tmp_path / "b.mkv")[0], expected)


@pytest.mark.parametrize(
    ("codec", "suffix", "name"),
    [("h264", ".mp4", "h264"), ("h264", ".mov", "h264"), ("hevc", ".mp4", "hevc"), ("av1", ".mp4", "av1"), ("av1", ".webm", "av1"),
     ("vp9", ".webm", "vp9"), ("prores", ".mov", "prores"), ("ffv1", ".mkv", "ffv1"), ("auto", ".webm", "av1")],
)  # fmt: skip
def test_each_codec_writes_transformed_frames(tmp_path: Path, codec: str, suffix: str, name: str) -> None:
    make(tmp_path / "a.mkv", size=(96, 64))
    target = tmp_path / f"b{suffix}"
    report = copy_video(tmp_path / "a.mkv", target, doubled, VideoSettings(codec=codec))
    info = probe(target)
    assert (info.width, info.height, info.codec, report.frames) == (192, 128, name, FRAMES)
    assert len(read(target)[0]) == FRAMES
    assert (info.colour.matrix, info.colour.full) == (6, False)


def test_audio_that_outlasts_the_frames_is_copied_whole(tmp_path: Path) -> None:
    """It has more packets than wait for a frame."""
    make(tmp_path / "a.mkv", times=[0])
    with av.open(str(tmp_path / "a.mkv")) as source, av.open(str(tmp_path / "a.long.mkv"), "w") as container:
        video = container.add_stream_from_template(source.streams.video[0])
        audio = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = video
                container.mux(packet)
        for number in range(700):
            tone = av.AudioFrame(format="s16", layout="mono", samples=80)
            tone.sample_rate, tone.pts = 8000, 80 * number
            container.mux(audio.encode(tone))
        container.mux(audio.encode(None))
    copy_video(tmp_path / "a.long.mkv", tmp_path / "b.mkv", settings=FFV1)
    assert packets(tmp_path / "b.mkv", "audio") == packets(tmp_path / "a.long.mkv", "audio")
    assert len(packets(tmp_path / "b.mkv", "audio")) == 700


# Errors


def failing(error: BaseException, after: int) -> Callable[[Iterator[Tensor]], Iterator[Tensor]]:
    def transform(frames: Iterator[Tensor]) -> Iterator[Tensor]:
        for index, frame in enumerate(frames):
            if index == after:
                raise error
            yield frame

    return transform


def test_a_library_error_in_the_transform_keeps_the_finished_frames(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", times=list(range(20)))
    with pytest.raises(NotFiniteError, match=r"oh\. The 7 finished frames are in .*b\.part\.mkv\."):
        copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", failing(NotFiniteError("oh."), 7))
    assert len(read(tmp_path / "b.part.mkv")[0]) == 7


@pytest.mark.parametrize("error", [RuntimeError("oh"), KeyboardInterrupt(), Stop()])
def test_other_errors_leave_no_file(tmp_path: Path, error: BaseException) -> None:
    make(tmp_path / "a.mkv", times=list(range(20)))
    with pytest.raises(type(error)):
        copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", failing(error, 7))
    assert outputs(tmp_path) == []


def test_cancelling_leaves_the_old_file_and_no_thread(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", times=list(range(20)))
    (tmp_path / "b.mkv").write_bytes(b"before")
    with pytest.raises(Stop):
        copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", progress=stop_at(3), overwrite=True)
    assert outputs(tmp_path) == ["b.mkv"]
    assert (tmp_path / "b.mkv").read_bytes() == b"before"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("span-helper")]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_full_disk_leaves_no_file(tmp_path: Path, suffix: str) -> None:
    resource = pytest.importorskip("resource", reason="only Unix limits the size of files")
    make(tmp_path / "a.mkv", times=list(range(40)))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            copy_video(tmp_path / "a.mkv", tmp_path / f"b{suffix}", settings=LOSSLESS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert outputs(tmp_path) == []


@pytest.mark.parametrize("more", [False, True])
def test_a_transform_that_changes_the_number_of_frames_is_reported(tmp_path: Path, more: bool) -> None:
    make(tmp_path / "a.mkv", times=list(range(20)))

    def transform(frames: Iterator[Tensor]) -> Iterator[Tensor]:
        for index, frame in enumerate(frames):
            yield from [frame] * (2 if more else index % 2)

    with pytest.raises(VideoError, match="more frames than it received" if more else "ended after 10 frames"):
        copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", transform)


def test_a_transform_that_changes_the_size_of_frames_is_reported(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv")

    def transform(frames: Iterator[Tensor]) -> Iterator[Tensor]:
        for index, frame in enumerate(frames):
            yield frame if index < 3 else frame[2:]

    with pytest.raises(VideoError, match=f"{WIDTH}x{HEIGHT - 2} pixels after one of {WIDTH}x{HEIGHT}.* The 3 finished frames"):
        copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", transform)


# Progress and memory


def test_progress_counts_frames(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", times=list(range(20)))
    events: list[Progress] = []
    copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", progress=events.append)
    assert [event.frame for event in events] == list(range(1, 21))
    assert {event.frames for event in events} == {20}


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    """The reader waits for a slow transform, and both wait for a slow writer."""
    make(tmp_path / "a.mkv", times=list(range(40)))
    decoded = 0
    before_transform: list[int] = []
    before_writer: list[int] = []

    class SlowWriter(VideoWriter):
        def write(self, frame: VideoFrame | None, packets: Iterable[TimedPacket] = ()) -> None:
            time.sleep(0.004)
            super().write(frame, packets)
            before_writer.append(decoded - self.frames)

    def slow(frames: Iterator[Tensor]) -> Iterator[Tensor]:
        for taken, frame in enumerate(frames, start=1):
            time.sleep(0.002)
            before_transform.append(decoded - taken)
            yield frame

    def counted(reader: VideoReader) -> Iterator[VideoFrame | TimedPacket]:
        nonlocal decoded
        for item in reader:
            decoded += isinstance(item, VideoFrame)
            yield item

    with opened(tmp_path / "a.mkv") as container:
        demuxer = Demuxer(container, "a.mkv")
        reader = VideoReader(demuxer)

        def open_writer(image: Tensor) -> VideoWriter:
            assert reader.format is not None
            path = tmp_path / "b.mkv"
            return SlowWriter(path, demuxer, choose_encoding(path, VideoSettings(), reader.format, (image.shape[1], image.shape[0])))

        writer, error = run(counted(reader), open_writer, slow, lambda frames: None)
    assert error is None
    assert writer is not None
    assert writer.frames == len(before_transform) == 40
    assert max(before_transform) <= 4
    assert max(before_writer) <= 9
    assert read(tmp_path / "b.mkv")[1] == [index * Fraction(1, 25) for index in range(40)]
