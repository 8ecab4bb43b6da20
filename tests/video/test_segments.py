"""Videos in segments: joints that nobody sees, and runs that are ended by whatever it may be."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import pytest
import torch

import span_arch
from span_arch import Settings
from span_arch.errors import OptionError, OutputError, VideoError
from span_arch.video import (
    Segment,
    VideoSettings,
    join_segments,
    plan_segments,
    probe,
    upscale_video,
    upscale_video_resumably,
    write_segment,
)
from span_arch.video.reader import VideoReader
from span_arch.video.segments import SegmentReader
from span_arch.video.source import opened

from ..faults import Stop, stop_at
from ..samples import model
from .test_video_files import FFV1, assert_same, damage, make, packets, read, turn

av = pytest.importorskip("av", reason="PyAV is not installed")
pytestmark = pytest.mark.usefixtures("one_thread")

_STEPS = [3003, 1501, 9000, 450, 450, 450, 450, 12000, 12000, 450, 3003, 3003, 1501, 3003, 3003, 3003, 3003, 6604, 3003]
UNEVEN = list(accumulate(_STEPS, initial=0))
"""Times of twenty frames, in units of 1/90000 s. From the eighth on they are far apart: an encoder that begins there begins early."""

KEYS = {"g": "4", "x264-params": "scenecut=0:bframes=2"}


def film(path: Path, pixel_format: str = "yuv420p", codec: str = "libx264", **how: Any) -> Path:
    """Twenty frames of noise with a key frame every four, at uneven times, with sound and a title."""
    how = {"times": UNEVEN, "time_base": Fraction(1, 90000), "options": KEYS if codec == "libx264" else {}, "audio": True} | how
    make(path, pixel_format, codec=codec, metadata={"title": "a title"}, **how)
    return path


def in_segments(source: Path, target: Path, frames: int, video: VideoSettings, **window: float) -> list[Path]:
    """Upscales the segments, the last first, and joins them. Returns their files."""
    segments = plan_segments(source, frames, **window)
    parts = [target.with_name(f"{segment.index}{target.suffix}") for segment in segments]
    for segment, part in reversed(list(zip(segments, parts, strict=True))):
        report, told = write_segment(model(), source, segment, part, video=video)
        assert report is not None
        assert report.frames == told.frames == segment.frames
    join_segments(source, parts, target, **window)
    return parts


def assert_same_beside(path: Path, other: Path) -> None:
    """Whether all but the frames themselves is the same."""
    ours, theirs = probe(path), probe(other)
    assert (ours.width, ours.height, ours.codec, ours.pixel_format, ours.colour, ours.sample_aspect_ratio, ours.audio) == (
        theirs.width, theirs.height, theirs.codec, theirs.pixel_format, theirs.colour, theirs.sample_aspect_ratio, theirs.audio,
    )  # fmt: skip
    if theirs.audio:
        assert packets(path, "audio") == packets(other, "audio")
    # MP4 has it from its last packet, which is another where key frames are others; PyAV 14 does not pass it on.
    if path.suffix in (".mkv", ".webm") and not av.__version__.startswith("14."):
        assert ours.fps == theirs.fps
    with av.open(str(path)) as container, av.open(str(other)) as another:
        assert container.metadata == another.metadata
        assert [stream.codec_context.codec_tag for stream in container.streams.video] == [
            stream.codec_context.codec_tag for stream in another.streams.video
        ]


# Joints


@pytest.mark.parametrize(
    ("codec", "suffix", "frames"),
    [("h264", ".mp4", 1), ("h264", ".mp4", 7), ("h264", ".mov", 7), ("h264", ".mkv", 7), ("hevc", ".mp4", 1), ("hevc", ".mkv", 7),
     ("prores", ".mov", 7), ("ffv1", ".mkv", 7), ("vp9", ".webm", 7), ("vp9", ".mp4", 7), ("av1", ".mp4", 7), ("av1", ".webm", 7)],
)  # fmt: skip
def test_joints_are_not_seen(tmp_path: Path, codec: str, suffix: str, frames: int) -> None:
    """What is joined is decoded to what its parts are, at the times that the whole has."""
    source, video = film(tmp_path / "a.mp4", size=(64, 64)), VideoSettings(codec)
    parts = in_segments(source, tmp_path / f"joined{suffix}", frames, video)
    upscale_video(model(), source, tmp_path / f"whole{suffix}", None, video)
    found, times = read(tmp_path / f"joined{suffix}")
    assert_same(found, [frame for part in parts for frame in read(part)[0]])
    assert times == read(tmp_path / f"whole{suffix}")[1]
    assert_same_beside(tmp_path / f"joined{suffix}", tmp_path / f"whole{suffix}")
    alone = [time for part in parts for time in read(part)[1]]  # Matroska begins later where sound begins before 0
    assert [time - alone[0] for time in alone] == [time - times[0] for time in times]


SOURCES: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "key frames": (".mp4", "yuv420p", "libx264", KEYS),
    "10 bits": (".mkv", "yuv420p10le", "libx264", KEYS),
    "open groups of H.264": (".mp4", "yuv420p", "libx264", {"x264-params": "keyint=6:min-keyint=6:open-gop=1:scenecut=0:bframes=3"}),
    "open groups of HEVC": (".mkv", "yuv420p", "libx265", {"x265-params": "log-level=error:keyint=5:min-keyint=5:open-gop=1"}),
    "a stream of packets": (".ts", "yuv420p", "libx264", {"x264-params": "keyint=6:min-keyint=6:open-gop=1:scenecut=0:bframes=3"}),
    "no key frames but a refresh": (".mp4", "yuv420p", "libx264", {"x264-params": "keyint=5:intra-refresh=1:scenecut=0:bframes=0"}),
    "one key frame": (".mp4", "yuv420p", "libx264", {}),
    "key frames only": (".mov", "rgb24", "png", {}),
}


WINDOWS = [{"start": 0.2}, {"start": 0.15, "duration": 0.4}, {"start": -0.5, "duration": 0.3}]


@pytest.mark.parametrize(
    ("kind", "window"), [*((kind, {}) for kind in SOURCES), *(("open groups of H.264", window) for window in WINDOWS)], ids=str
)
def test_without_loss_segments_are_the_whole(tmp_path: Path, kind: str, window: dict[str, float]) -> None:
    suffix, pixel_format, codec, options = SOURCES[kind]
    source = film(tmp_path / f"a{suffix}", pixel_format, codec, options=options, ratio=Fraction(4, 3), size=(64, 64))
    upscale_video(model(), source, tmp_path / "whole.mkv", None, FFV1, **window)
    in_segments(source, tmp_path / "joined.mkv", 3, FFV1, **window)
    (found, times), (expected, expected_times) = read(tmp_path / "joined.mkv"), read(tmp_path / "whole.mkv")
    assert_same(found, expected)
    assert times == expected_times
    assert_same_beside(tmp_path / "joined.mkv", tmp_path / "whole.mkv")


def test_turned_frames_and_alpha(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4")
    turn(source, (0, -1, 1, 0))
    for codec, suffix in (("ffv1", ".mkv"), ("h264", ".mp4")):
        upscale_video(model(), source, tmp_path / f"whole{suffix}", None, VideoSettings(codec))
        in_segments(source, tmp_path / f"joined{suffix}", 6, VideoSettings(codec))
        assert_same_beside(tmp_path / f"joined{suffix}", tmp_path / f"whole{suffix}")
    assert_same(read(tmp_path / "joined.mkv")[0], read(tmp_path / "whole.mkv")[0])
    in_segments(film(tmp_path / "see.mkv", "yuva420p", "ffv1", audio=False), tmp_path / "joined.webm", 6, VideoSettings("vp9"))
    assert probe(tmp_path / "joined.webm").alpha


@pytest.mark.skipif(not hasattr(av.container.OutputContainer, "set_chapters"), reason="this PyAV knows no chapters")
@pytest.mark.parametrize("window", [{}, {"start": 0.3, "duration": 1.5}], ids=str)
def test_subtitles_chapters_and_attachments_are_as_in_the_whole(tmp_path: Path, window: dict[str, float]) -> None:
    film(tmp_path / "bare.mkv", subtitles=True, times=[4 * step for step in UNEVEN])
    source = tmp_path / "a.mkv"
    with av.open(str(tmp_path / "bare.mkv")) as bare, av.open(str(source), "w") as container:
        streams = [container.add_stream_from_template(stream, opaque=True) for stream in bare.streams]
        container.add_attachment("font.ttf", "font/ttf", b"letters")
        halves = [(0, 900), (900, 2000)]
        container.set_chapters(
            [
                {"id": start, "start": start, "end": end, "time_base": Fraction(1, 1000), "metadata": {"title": f"from {start}"}}
                for start, end in halves
            ]
        )
        for packet in bare.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                container.mux(packet)
    upscale_video(model(), source, tmp_path / "whole.mkv", None, FFV1, **window)
    in_segments(source, tmp_path / "joined.mkv", 6, FFV1, **window)
    assert_same_beside(tmp_path / "joined.mkv", tmp_path / "whole.mkv")
    assert packets(tmp_path / "joined.mkv", "subtitle") == packets(tmp_path / "whole.mkv", "subtitle") != []
    with av.open(str(tmp_path / "joined.mkv")) as joined, av.open(str(tmp_path / "whole.mkv")) as whole:
        assert joined.chapters() == whole.chapters() != []
        assert [stream.type for stream in joined.streams] == [stream.type for stream in whole.streams]


def test_segments_travel_and_are_planned_alike(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4")
    segments = plan_segments(source, 6)
    assert segments == plan_segments(source, 6) == pickle.loads(pickle.dumps(segments))
    assert [segment.frames for segment in segments] == [6, 6, 6, 2]
    assert [segment.first for segment in segments] == [None, UNEVEN[6], UNEVEN[12], UNEVEN[18]]
    assert [segment.end for segment in segments] == [UNEVEN[6], UNEVEN[12], UNEVEN[18], None]
    told = write_segment(model(), source, segments[3], tmp_path / "3.mp4")
    assert pickle.loads(pickle.dumps(told)) == told
    with pytest.raises(OptionError, match="Segments of 0 frames"):
        plan_segments(source, 0)


def test_a_segment_is_found_wherever_a_container_is_searched(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4")
    segment = plan_segments(source, 5)[2]
    frames: list[Any] = []
    for seek in (segment.seek, 0, 10**9):
        write_segment(model(), source, replace(segment, seek=seek), tmp_path / "2.mkv", video=FFV1, overwrite=True)
        frames.append(read(tmp_path / "2.mkv")[0])
    assert_same(frames[1], frames[0])
    assert_same(frames[2], frames[0])
    with opened(source) as container:
        reader = SegmentReader(container, "it", segment)
        assert len(list(reader.packets())) < 16


def test_a_video_that_tells_no_times_is_one_segment(tmp_path: Path) -> None:
    source = film(tmp_path / "a.h264", times=list(range(20)), time_base=Fraction(1, 25), audio=False)
    assert plan_segments(source, 6) == [Segment(0, 0, 0, None, None, 0, None, 0)]
    upscale_video(model(), source, tmp_path / "whole.mkv", None, FFV1)
    upscale_video_resumably(model(), source, tmp_path / "joined.mkv", None, FFV1, segment_frames=6)
    assert_same(read(tmp_path / "joined.mkv")[0], read(tmp_path / "whole.mkv")[0])


def test_broken_frames_are_left_out_and_counted(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mov", "rgb24", "png", times=list(range(12)), time_base=Fraction(1, 25))
    damage(source, {1, 4, 5, 6, 7, 9})
    _, whole = upscale_video(model(), source, tmp_path / "whole.mkv", None, FFV1)
    _, told = upscale_video_resumably(model(), source, tmp_path / "joined.mkv", None, FFV1, segment_frames=4)
    assert (told.frames, told.broken) == (6, 6)
    assert told == whole
    assert_same(read(tmp_path / "joined.mkv")[0], read(tmp_path / "whole.mkv")[0])
    assert read(tmp_path / "joined.mkv")[1] == read(tmp_path / "whole.mkv")[1]


class Failing:
    """A container that cannot be read any more after some packets."""

    def __init__(self, container: Any, after: int) -> None:
        self._container, self._after = container, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def demux(self, *streams: Any) -> Iterator[Any]:
        yield from islice(self._container.demux(*streams), self._after)
        raise av.error.FFmpegError(5, "Input/output error")


def test_what_cannot_be_read_any_more_is_not_silently_left_out(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv")
    (whole,) = plan_segments(path)
    with opened(path) as container, pytest.raises(VideoError, match=r"breaks off after .*Input/output error"):
        list(SegmentReader(Failing(container, 5), "a.mkv", whole))
    with opened(path) as container, pytest.raises(VideoError, match=r"breaks off after .*Input/output error"):
        list(VideoReader(Failing(container, 5), "a.mkv").others())


def test_parts_that_do_not_fit_each_other(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4")
    first, second, *_ = plan_segments(source, 6)
    write_segment(model(), source, first, tmp_path / "0.mp4", video=VideoSettings())
    write_segment(model(), source, second, tmp_path / "1.mp4", video=VideoSettings(preset="ultrafast"))
    with pytest.raises(VideoError, match=r"1\.mp4' does not fit to '.*0\.mp4': different are headers of the encoder"):
        join_segments(source, [tmp_path / "0.mp4", tmp_path / "1.mp4"], tmp_path / "joined.mp4")
    with pytest.raises(OptionError, match=r"expected the suffix \.mkv"):
        join_segments(source, [tmp_path / "0.mp4"], tmp_path / "joined.mkv")
    with pytest.raises(VideoError, match=r"2\.mp4' is no file"):
        join_segments(source, [tmp_path / "0.mp4", tmp_path / "2.mp4"], tmp_path / "joined.mp4")
    assert not (tmp_path / "joined.mp4").exists()


# Runs that are ended


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def begun(source: Path, target: Path, segments: int = 2, **more: Any) -> Path:
    """A run that was cancelled after so many segments; its folder."""
    folder = target.with_name(f"{target.name}.segments")

    def progress(done: int, total: int) -> None:
        if len(list(folder.glob("[0-9]*"))) == segments:
            raise Stop

    with pytest.raises(Stop):
        upscale_video_resumably(model(), source, target, **{"video": FFV1, "segment_frames": 6, "progress": progress} | more)
    return folder


def counted(count: list[int]) -> Callable[[Any], Any]:
    """A look that counts frames."""

    def look(frames: Any) -> Any:
        for frame in frames:
            count.append(1)
            yield frame

    return look


def test_cancelled_and_gone_on_with(tmp_path: Path) -> None:
    source, target = film(tmp_path / "a.mp4"), tmp_path / "b.mkv"
    upscale_video(model(), source, tmp_path / "whole.mkv", None, FFV1)
    folder = begun(source, target)
    assert left(tmp_path) == {"a.mp4", "whole.mkv", "b.mkv.segments"}
    assert left(folder) == {"00000.mkv", "00001.mkv", "manifest.json", "lock", "owner.txt"}
    seen, told = list[int](), list[tuple[int, int]]()
    report, video = upscale_video_resumably(
        model(), source, target, None, FFV1, context=span_arch.Context(progress=lambda *step: told.append(step)), look=counted(seen)
    )
    assert (len(seen), report.frames, video.frames, video.encoder, video.warnings) == (8, 20, 20, "ffv1", ())
    assert (report.source, report.result) == ((32, 48), (64, 96))
    assert told == sorted(told)
    assert told[0] == (12 * told[-1][1] // 20, told[-1][1])
    assert told[-1][0] == told[-1][1]
    assert left(tmp_path) == {"a.mp4", "whole.mkv", "b.mkv"}
    assert_same(read(target)[0], read(tmp_path / "whole.mkv")[0])
    with pytest.raises(OutputError, match="already exists"):
        upscale_video_resumably(model(), source, target, None, FFV1)


def truncate(folder: Path) -> None:
    (folder / "00001.mkv").write_bytes((folder / "00001.mkv").read_bytes()[:-100])


def flip(folder: Path) -> None:
    content = bytearray((folder / "00001.mkv").read_bytes())
    content[len(content) // 2] ^= 255
    (folder / "00001.mkv").write_bytes(content)


def forget(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def scribble(folder: Path) -> None:
    (folder / "manifest.json").write_bytes((folder / "manifest.json").read_bytes()[:-3])


@pytest.mark.parametrize(
    ("harm", "again"),
    [(truncate, 14), (flip, 14), (lambda folder: (folder / "00000.mkv").unlink(), 14), (forget, 20), (scribble, 20)],
    ids=["truncated", "flipped", "deleted", "no manifest", "broken manifest"],
)
def test_what_is_damaged_is_made_again(tmp_path: Path, harm: Callable[[Path], None], again: int) -> None:
    source, target = film(tmp_path / "a.mp4"), tmp_path / "b.mkv"
    upscale_video(model(), source, tmp_path / "whole.mkv", None, FFV1)
    harm(begun(source, target))
    seen: list[int] = []
    upscale_video_resumably(model(), source, target, None, FFV1, segment_frames=6, look=counted(seen))
    assert len(seen) == again
    assert_same(read(target)[0], read(tmp_path / "whole.mkv")[0])
    assert left(tmp_path) == {"a.mp4", "whole.mkv", "b.mkv"}


def other_model() -> Any:
    other = model()
    with torch.no_grad():
        next(other.model.parameters()).add_(0.01)
    return other


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "other.mp4"}, r"the source \(bytes was \d+, and is \d+\)"),
        ({"model": "other"}, r"the model \(SHA-256 of its weights was \w+, and is \w+\)"),
        ({"settings": Settings(ensemble=True)}, r"Different are: the settings \(ensemble was False, and is True\)\. Ask for the same"),
        ({"video": VideoSettings("hevc")}, r"the settings of the video \(codec was 'ffv1', and is 'hevc'\)"),
        ({"start": 0.1}, r"the window \(start was 0\.0, and is 0\.1\)"),
    ],
    ids=["source", "model", "settings", "video", "window"],
)
def test_nothing_is_mixed(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    source, target = film(tmp_path / "a.mp4"), tmp_path / "b.mkv"
    folder = begun(source, target)
    before = {path: path.read_bytes() for path in folder.iterdir() if path.name != "owner.txt"}
    film(tmp_path / "other.mp4", times=UNEVEN[:15])
    how = {"video": FFV1} | change
    if "source" in change:
        how["source"] = tmp_path / change["source"]
    how["model"] = other_model() if "model" in change else model()
    with pytest.raises(OptionError, match=message) as caught:
        upscale_video_resumably(**{"source": source, "target": target} | how)
    assert "delete the folder to begin anew" in str(caught.value)
    assert {path: path.read_bytes() for path in before} == before
    assert not target.exists()


def test_a_source_of_another_name_is_the_same_source(tmp_path: Path) -> None:
    source, target = film(tmp_path / "a.mp4"), tmp_path / "b.mkv"
    begun(source, target)
    seen: list[int] = []
    upscale_video_resumably(model(), source.rename(tmp_path / "moved.mp4"), target, None, FFV1, look=counted(seen))
    assert len(seen) == 8


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    source, target = film(tmp_path / "a.mp4"), tmp_path / "b.mkv"
    messages: list[str] = []

    def progress(done: int, total: int) -> None:
        if not messages:
            with pytest.raises(OutputError) as caught:
                upscale_video_resumably(model(), source, target, None, FFV1)
            messages.append(str(caught.value))

    upscale_video_resumably(model(), source, target, None, FFV1, context=span_arch.Context(progress=progress))
    assert f"process {os.getpid()} on " in messages[0]
    assert "is at work already. Wait until that is done" in messages[0]
    assert left(tmp_path) == {"a.mp4", "b.mkv"}


def test_what_others_put_into_the_folder_stays(tmp_path: Path) -> None:
    source, target = film(tmp_path / "a.mp4"), tmp_path / "b.mkv"
    folder = begun(source, target)
    (folder / "notes.txt").write_text("mine")
    upscale_video_resumably(model(), source, target, None, FFV1)
    assert left(folder) == {"notes.txt", "lock", "owner.txt"}


def test_a_full_disk_keeps_what_is_finished(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="only Unix limits the size of files")
    source, target = film(tmp_path / "a.mp4"), tmp_path / "b.mkv"
    folder = begun(source, target)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(
            OutputError, match=r"cannot be written: File too large\. Of 4 segments, 2 are finished, in '.*b\.mkv\.segments'"
        ):
            upscale_video_resumably(model(), source, target, None, FFV1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert left(folder) == {"00000.mkv", "00001.mkv", "manifest.json", "lock", "owner.txt"}
    assert upscale_video_resumably(model(), source, target, None, FFV1)[1].frames == 20


@pytest.mark.parametrize("at", [1, 2, 30])
def test_cancelled_before_there_is_a_segment_only_the_plan_stays(tmp_path: Path, at: int) -> None:
    source, target = film(tmp_path / "a.mp4"), tmp_path / "b.mkv"
    with pytest.raises(Stop):
        upscale_video_resumably(model(), source, target, Settings(tile=8), FFV1, context=span_arch.Context(progress=stop_at(at)))
    assert left(tmp_path / "b.mkv.segments") == {"manifest.json", "lock", "owner.txt"}


def test_what_is_no_video_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video at all\n" * 1000)
    for source, message in {"text.mp4": "cannot be read as a video", "missing.mp4": "is no file that is there"}.items():
        with pytest.raises(VideoError, match=message):
            upscale_video_resumably(model(), tmp_path / source, tmp_path / "b.mkv", None, FFV1)
    with pytest.raises(OptionError, match="Segments of 0 frames"):
        upscale_video_resumably(model(), film(tmp_path / "a.mp4"), tmp_path / "b.mkv", None, FFV1, segment_frames=0)
    make(tmp_path / "broken.mov", "rgb24", codec="png")
    damage(tmp_path / "broken.mov", set(range(5)))
    with pytest.raises(VideoError, match="has no frame that can be decoded"):
        upscale_video_resumably(model(), tmp_path / "broken.mov", tmp_path / "b.mkv", None, FFV1)
    assert left(tmp_path) == {"a.mp4", "text.mp4", "broken.mov"}


# Kills

KILLS = int(os.environ.get("SPAN_TEST_KILLS", "3"))
"""How many moments are tried of each container."""


def run_in_process(folder: Path, target: str) -> None:
    torch.set_num_threads(1)
    network, video = span_arch.load(folder / "model.safetensors"), VideoSettings("ffv1" if target.endswith(".mkv") else "h264")
    upscale_video_resumably(network, folder / "a.mp4", folder / target, None, video, segment_frames=8, overwrite=True)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_killed_at_any_moment_and_gone_on_with_it_is_the_same(tmp_path: Path, suffix: str) -> None:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        pytest.skip("processes take seconds to start where they cannot be forked")
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    film(tmp_path / "a.mp4", times=[3600 * index + 7 * (index % 3) for index in range(60)])
    span_arch.save(model(), tmp_path / "model.safetensors")

    def run(target: str) -> Any:
        process = processes.Process(target=run_in_process, args=(tmp_path, target))
        process.start()
        return process

    first = run(f"whole{suffix}")
    began = time.monotonic()
    first.join()
    lasts, kills, moments = time.monotonic() - began, 0, random.Random(suffix)
    expected = read(tmp_path / f"whole{suffix}")
    while kills < KILLS:
        process = run(f"b{suffix}")
        process.join(moments.uniform(0.02, lasts))
        process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:  # else it was done
            kills += 1
            if kills % 2:  # every other time it is killed again before it is done
                continue
        process = run(f"b{suffix}")
        process.join()
        assert process.exitcode == 0
        frames, times = read(tmp_path / f"b{suffix}")
        assert_same(frames, expected[0])
        assert times == expected[1]
        assert_same_beside(tmp_path / f"b{suffix}", tmp_path / f"whole{suffix}")
        assert left(tmp_path) == {"a.mp4", "model.safetensors", f"whole{suffix}", f"b{suffix}"}
