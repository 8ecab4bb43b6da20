"""Segments of a video: planned, upscaled independently, and joined again."""

from __future__ import annotations

import pickle
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from span_arch.errors import OptionError, VideoError
from span_arch.video import Segment, VideoSettings, join_segments, plan_segments, probe, upscale_video, write_segment
from span_arch.video.demuxer import Demuxer
from span_arch.video.source import opened

from ..samples import small_model
from .films import FFV1, KEYS, UNEVEN, Planes, assert_same, av, film, packets, read, turn

pytestmark = pytest.mark.usefixtures("one_thread")


def join(source: Path, target: Path, frames: int, video: VideoSettings, **window: float) -> list[Path]:
    """Upscale a video in segments, the last first, and join them. Return their files."""
    segments = plan_segments(source, frames, **window)
    parts = [target.with_name(f"{segment.index}{target.suffix}") for segment in segments]
    for segment, part in reversed(list(zip(segments, parts, strict=True))):
        report, video_report = write_segment(small_model(), source, segment, part, video=video)
        assert report is not None
        assert report.frames == video_report.frames == segment.frames
    join_segments(source, parts, target, **window)
    return parts


def assert_same_file(path: Path, other: Path) -> None:
    """Check that two files are equal in everything but their frames."""
    ours, theirs = probe(path), probe(other)
    assert (ours.width, ours.height, ours.codec, ours.pixel_format, ours.colour, ours.sample_aspect_ratio, ours.audio) == (
        theirs.width, theirs.height, theirs.codec, theirs.pixel_format, theirs.colour, theirs.sample_aspect_ratio, theirs.audio,
    )  # fmt: skip
    if theirs.audio:
        assert packets(path, "audio") == packets(other, "audio")
    # MP4 derives it from its last packet, which depends on the key frames. PyAV 14 does not pass it on.
    if path.suffix in (".mkv", ".webm") and not av.__version__.startswith("14."):
        assert ours.fps == theirs.fps
    with av.open(str(path)) as container, av.open(str(other)) as another:
        assert container.metadata == another.metadata
        assert [stream.codec_context.codec_tag for stream in container.streams.video] == [
            stream.codec_context.codec_tag for stream in another.streams.video
        ]


@pytest.mark.parametrize(
    ("codec", "suffix", "frames"),
    [("h264", ".mp4", 1), ("h264", ".mp4", 7), ("h264", ".mov", 7), ("h264", ".mkv", 7), ("hevc", ".mp4", 1), ("hevc", ".mkv", 7),
     ("prores", ".mov", 7), ("ffv1", ".mkv", 7), ("vp9", ".webm", 7), ("vp9", ".mp4", 7), ("av1", ".mp4", 7), ("av1", ".webm", 7)],
)  # fmt: skip
def test_joined_segments_decode_to_their_parts_at_the_times_of_the_whole(tmp_path: Path, codec: str, suffix: str, frames: int) -> None:
    source, video = film(tmp_path / "a.mp4", size=(64, 64)), VideoSettings(codec)
    parts = join(source, tmp_path / f"joined{suffix}", frames, video)
    upscale_video(small_model(), source, tmp_path / f"whole{suffix}", None, video)
    found, times = read(tmp_path / f"joined{suffix}")
    assert_same(found, [frame for part in parts for frame in read(part)[0]])
    assert times == read(tmp_path / f"whole{suffix}")[1]
    assert_same_file(tmp_path / f"joined{suffix}", tmp_path / f"whole{suffix}")
    alone = [time for part in parts for time in read(part)[1]]  # Matroska begins later where audio begins before 0
    assert [time - alone[0] for time in alone] == [time - times[0] for time in times]


SOURCES: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "key frames": (".mp4", "yuv420p", "libx264", KEYS),
    "10 bits": (".mkv", "yuv420p10le", "libx264", KEYS),
    "open groups of H.264": (".mp4", "yuv420p", "libx264", {"x264-params": "keyint=6:min-keyint=6:open-gop=1:scenecut=0:bframes=3"}),
    "open groups of HEVC": (".mkv", "yuv420p", "libx265", {"x265-params": "log-level=error:keyint=5:min-keyint=5:open-gop=1"}),
    "MPEG-TS": (".ts", "yuv420p", "libx264", {"x264-params": "keyint=6:min-keyint=6:open-gop=1:scenecut=0:bframes=3"}),
    "intra refresh": (".mp4", "yuv420p", "libx264", {"x264-params": "keyint=5:intra-refresh=1:scenecut=0:bframes=0"}),
    "one key frame": (".mp4", "yuv420p", "libx264", {}),
    "key frames only": (".mov", "rgb24", "png", {}),
}


WINDOWS = [{"start": 0.2}, {"start": 0.15, "duration": 0.4}, {"start": -0.5, "duration": 0.3}]


@pytest.mark.parametrize(
    ("kind", "window"), [*((kind, {}) for kind in SOURCES), *(("open groups of H.264", window) for window in WINDOWS)], ids=str
)
def test_lossless_segments_equal_the_whole(tmp_path: Path, kind: str, window: dict[str, float]) -> None:
    suffix, pixel_format, codec, options = SOURCES[kind]
    source = film(tmp_path / f"a{suffix}", pixel_format, codec, options=options, ratio=Fraction(4, 3), size=(64, 64))
    upscale_video(small_model(), source, tmp_path / "whole.mkv", None, FFV1, **window)
    join(source, tmp_path / "joined.mkv", 3, FFV1, **window)
    (found, times), (expected, expected_times) = read(tmp_path / "joined.mkv"), read(tmp_path / "whole.mkv")
    assert_same(found, expected)
    assert times == expected_times
    assert_same_file(tmp_path / "joined.mkv", tmp_path / "whole.mkv")


def test_rotated_frames_and_alpha_are_as_in_the_whole(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4")
    turn(source, (0, -1, 1, 0))
    for codec, suffix in (("ffv1", ".mkv"), ("h264", ".mp4")):
        upscale_video(small_model(), source, tmp_path / f"whole{suffix}", None, VideoSettings(codec))
        join(source, tmp_path / f"joined{suffix}", 6, VideoSettings(codec))
        assert_same_file(tmp_path / f"joined{suffix}", tmp_path / f"whole{suffix}")
    assert_same(read(tmp_path / "joined.mkv")[0], read(tmp_path / "whole.mkv")[0])
    join(film(tmp_path / "alpha.mkv", "yuva420p", "ffv1", audio=False), tmp_path / "joined.webm", 6, VideoSettings("vp9"))
    assert probe(tmp_path / "joined.webm").alpha


@pytest.mark.skipif(not hasattr(av.container.OutputContainer, "set_chapters"), reason="this PyAV does not support chapters")
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
    upscale_video(small_model(), source, tmp_path / "whole.mkv", None, FFV1, **window)
    join(source, tmp_path / "joined.mkv", 6, FFV1, **window)
    assert_same_file(tmp_path / "joined.mkv", tmp_path / "whole.mkv")
    assert packets(tmp_path / "joined.mkv", "subtitle") == packets(tmp_path / "whole.mkv", "subtitle") != []
    with av.open(str(tmp_path / "joined.mkv")) as joined, av.open(str(tmp_path / "whole.mkv")) as whole:
        assert joined.chapters() == whole.chapters() != []
        assert [stream.type for stream in joined.streams] == [stream.type for stream in whole.streams]


def test_plans_are_reproducible_and_can_be_pickled(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4")
    segments = plan_segments(source, 6)
    assert segments == plan_segments(source, 6) == pickle.loads(pickle.dumps(segments))
    assert [segment.frames for segment in segments] == [6, 6, 6, 2]
    assert [segment.first for segment in segments] == [None, UNEVEN[6], UNEVEN[12], UNEVEN[18]]
    assert [segment.end for segment in segments] == [UNEVEN[6], UNEVEN[12], UNEVEN[18], None]
    reports = write_segment(small_model(), source, segments[3], tmp_path / "3.mp4")
    assert pickle.loads(pickle.dumps(reports)) == reports
    with pytest.raises(OptionError, match="number of frames in a segment is 0"):
        plan_segments(source, 0)


def test_a_segment_is_found_from_any_seek_position(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4")
    segment = plan_segments(source, 5)[2]
    results: list[list[Planes]] = []
    for seek in (segment.seek, 0, 10**9):
        write_segment(small_model(), source, replace(segment, seek=seek), tmp_path / "2.mkv", video=FFV1, overwrite=True)
        results.append(read(tmp_path / "2.mkv")[0])
    assert_same(results[1], results[0])
    assert_same(results[2], results[0])


def test_only_the_packets_around_a_segment_are_read(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4")
    with opened(source) as container:
        assert len(list(Demuxer(container, "a.mp4", segment=plan_segments(source, 5)[2]).packets())) < 16


def test_a_video_without_times_is_one_segment(tmp_path: Path) -> None:
    source = film(tmp_path / "a.h264", times=list(range(20)), time_base=Fraction(1, 25), audio=False)
    assert plan_segments(source, 6) == [Segment(0, 0, 0, None, None, 0, None, 0)]
    upscale_video(small_model(), source, tmp_path / "whole.mkv", None, FFV1)
    write_segment(small_model(), source, plan_segments(source, 6)[0], tmp_path / "0.mkv", video=FFV1)
    join_segments(source, [tmp_path / "0.mkv"], tmp_path / "joined.mkv")
    assert_same(read(tmp_path / "joined.mkv")[0], read(tmp_path / "whole.mkv")[0])


def test_parts_that_do_not_match_are_reported(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4")
    first, second, *_ = plan_segments(source, 6)
    write_segment(small_model(), source, first, tmp_path / "0.mp4", video=VideoSettings())
    write_segment(small_model(), source, second, tmp_path / "1.mp4", video=VideoSettings(preset="ultrafast"))
    with pytest.raises(VideoError, match=r"1\.mp4 does not match .*0\.mp4: encoder headers differ"):
        join_segments(source, [tmp_path / "0.mp4", tmp_path / "1.mp4"], tmp_path / "joined.mp4")
    with pytest.raises(OptionError, match=r"Expected the suffix \.mkv"):
        join_segments(source, [tmp_path / "0.mp4"], tmp_path / "joined.mkv")
    with pytest.raises(VideoError, match=r"2\.mp4 does not exist"):
        join_segments(source, [tmp_path / "0.mp4", tmp_path / "2.mp4"], tmp_path / "joined.mp4")
    assert not (tmp_path / "joined.mp4").exists()


def test_subtitles_may_outlast_the_frames(tmp_path: Path) -> None:
    """Their end is that of the file, which is not incomplete."""
    source = film(tmp_path / "a.mkv", "yuv420p", "ffv1", subtitles=True)
    assert [segment.frames for segment in plan_segments(source, 12)] == [12, 8]
