"""Reading and writing of videos: what goes through unchanged, what is kept beside the pictures, and what goes wrong."""

from __future__ import annotations

import io
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from span_arch._util.channel import Channel
from span_arch.errors import MissingExtraError, NotFiniteError, OptionError, OutputError, VideoError
from span_arch.video import VideoSettings, copy_video, plan_segments, probe
from span_arch.video import reader as video_reader
from span_arch.video import writer as video_writer
from span_arch.video.chroma import double_columns, double_rows, halve_columns, halve_rows
from span_arch.video.codecs import CODECS, Encoder
from span_arch.video.colour import Colour, resolve, to_image, to_planes
from span_arch.video.pixel_formats import Layout, closest, parse, planar

from ..faults import Stop, stop_at

av = pytest.importorskip("av", reason="PyAV is not installed")

pytestmark = pytest.mark.usefixtures("one_thread")

WIDTH, HEIGHT, FRAMES = 48, 32, 5
FFV1 = VideoSettings(codec="ffv1")
LOSSLESS = VideoSettings(quality=0)
SUBTITLES = b"1\n00:00:00,000 --> 00:00:00,500\nline 0\n\n2\n00:00:01,000 --> 00:00:01,500\nline 1\n"


def layout_named(name: str) -> Layout:
    layout = parse(name)
    assert layout is not None
    return layout


def noise(layout: Layout, seed: int, width: int = WIDTH, height: int = HEIGHT) -> list[np.ndarray[Any, Any]]:
    """Planes of all numbers that there are."""
    random = np.random.default_rng(seed)
    dtype = np.uint8 if layout.depth == 8 else np.uint16
    return [random.integers(0, 2**layout.depth, layout.size(plane, height, width), dtype) for plane in range(layout.planes)]


def view(frame: Any, index: int, layout: Layout) -> np.ndarray[Any, Any]:
    """The samples of a channel, to be read or written."""
    height, width = layout.size(index, frame.height, frame.width)
    if frame.format.name in ("bgr0", "bgra"):
        return np.frombuffer(frame.planes[0], np.uint8).reshape(height, -1, 4)[:, :width, (1, 0, 2, 3)[index]]
    if frame.format.name == "rgb24":
        return np.frombuffer(frame.planes[0], np.uint8).reshape(height, -1)[:, (1, 2, 0)[index] : 3 * width : 3]
    return np.frombuffer(frame.planes[index], np.uint8 if layout.depth == 8 else np.uint16).reshape(height, -1)[:, :width]


def make(
    path: Path | io.BytesIO,
    pixel_format: str = "yuv420p",
    *,
    codec: str = "ffv1",
    times: list[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    size: tuple[int, int] = (WIDTH, HEIGHT),
    tags: dict[str, int] | None = None,
    audio: bool = False,
    subtitles: bool = False,
    options: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
    ratio: Fraction | None = None,
    form: str | None = None,
) -> list[list[np.ndarray[Any, Any]]]:
    """Writes a small video of noise, and returns the planes of its frames."""
    layout = planar(av.VideoFormat(pixel_format))
    written: list[list[np.ndarray[Any, Any]]] = []
    template = av.open(io.BytesIO(SUBTITLES), format="srt") if subtitles else None
    with av.open(str(path) if isinstance(path, Path) else path, "w", format=form) as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(codec, rate=Fraction(25), options=options or {})
        context = stream.codec_context
        context.width, context.height, context.pix_fmt, context.time_base = *size, pixel_format, time_base
        for name, number in (tags or {}).items():
            setattr(context, name, number)
        if ratio is not None:
            context.sample_aspect_ratio = ratio
        sound = container.add_stream("aac", rate=48000, layout="mono") if audio else None
        text = container.add_stream_from_template(template.streams.subtitles[0], opaque=True) if template is not None else None
        frames: list[Any] = []
        for index, pts in enumerate(times or range(FRAMES)):
            planes = noise(layout, index, *size)
            frame = av.VideoFrame(*size, pixel_format)
            for number, plane in enumerate(planes):
                view(frame, number, layout)[:] = plane
            frame.pts, frame.time_base = pts, time_base
            frames.append(frame)
            written.append(planes)
        for frame in (*frames, None):
            for packet in stream.encode(frame):
                packet.duration = round(Fraction(1, 25) / time_base)
                container.mux(packet)
        if sound is not None:
            waves = np.random.default_rng(0).uniform(-1, 1, (1, 48000)).astype(np.float32)
            tone = av.AudioFrame.from_ndarray(waves, format="fltp", layout="mono")
            tone.sample_rate, tone.pts = 48000, 0
            container.mux(sound.encode(tone))
            container.mux(sound.encode(None))
        if template is not None:
            for packet in template.demux(subtitles=0):
                if packet.size:
                    packet.stream = text
                    container.mux(packet)
            template.close()
    return written


def read(path: Path) -> tuple[list[list[np.ndarray[Any, Any]]], list[Fraction]]:
    """The planes of all frames of a file, and their times in seconds."""
    frames, times = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            layout = planar(frame.format)
            times.append(frame.pts * frame.time_base)
            frames.append([view(frame, plane, layout).copy() for plane in range(layout.planes)])
    return frames, times


def packets(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    """Times and content of the packets of the first stream of a kind."""
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [(packet.pts * packet.time_base, bytes(packet)) for packet in container.demux(stream) if packet.size]


def doubled(frames: Iterator[Tensor]) -> Iterator[Tensor]:
    for frame in frames:
        yield frame.repeat_interleave(2, 0).repeat_interleave(2, 1)


def assert_same(found: list[list[np.ndarray[Any, Any]]], expected: list[list[np.ndarray[Any, Any]]]) -> None:
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        for plane, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(plane, other)


# Numbers


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 9))
def test_chroma_that_was_doubled_is_halved_to_itself(length: int, other: int, seed: int) -> None:
    plane = torch.rand(other, -(-length // 2), generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(halve_columns(double_columns(plane, length)), plane)
    torch.testing.assert_close(halve_rows(double_rows(plane.T, length)), plane.T)


def test_what_chroma_of_half_the_resolution_cannot_say_becomes_its_mean() -> None:
    stripes = torch.tensor([[1.0, 0.0]]).repeat(4, 5)
    torch.testing.assert_close(halve_columns(stripes), torch.full((4, 5), 0.5))
    torch.testing.assert_close(halve_rows(stripes.T)[1:-1], torch.full((3, 4), 0.5))


def test_chroma_lies_where_it_should() -> None:
    """A slope stays a slope: on the columns of the left, and halfway between the rows."""
    ramp = torch.arange(8.0)[None]
    torch.testing.assert_close(double_columns(2 * ramp, 16)[:, :15], torch.arange(15.0)[None])
    torch.testing.assert_close(double_rows(2 * ramp.T + 0.5, 16)[1:15], torch.arange(1.0, 15.0)[:, None])


NAMES = [
    *(f"yuv{sampling}p{depth}" for sampling in (420, 422, 444, 440) for depth in ("", "10le", "12le")),
    *("yuv420p16le", "yuv411p", "yuv410p", "yuva420p", "yuva444p10le", "gbrp", "gbrap", "gbrp10le", "gray", "gray16le"),
]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 5, 6, 7, 9])
@pytest.mark.parametrize("name", NAMES)
def test_all_numbers_come_back_from_rgb(name: str, matrix: int, full: bool) -> None:
    layout, colour = layout_named(name), Colour(matrix, full)
    planes = [torch.from_numpy(plane.astype(np.float32)) for plane in noise(layout, 1, 23, 17)]
    for found, expected in zip(to_planes(to_image(planes, layout, colour), layout, colour), planes, strict=True):
        assert torch.equal(found, expected)


WEIGHTS = {6: (0.299, 0.114), 1: (0.2126, 0.0722), 9: (0.2627, 0.0593)}


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", WEIGHTS)
def test_a_chart_is_read_as_the_recommendations_say(tmp_path: Path, matrix: int, full: bool, depth: int) -> None:
    red, blue = WEIGHTS[matrix]
    rgb = np.stack(np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT), indexing="xy"), 2)
    rgb = np.concatenate((rgb, 1 - rgb[:, :, :1] * rgb[:, :, 1:]), 2)
    luma = rgb @ (red, 1 - red - blue, blue)
    chroma = (rgb[:, :, 2] - luma) / (2 - 2 * blue), (rgb[:, :, 0] - luma) / (2 - 2 * red)
    peak, unit = 2**depth - 1, 2 ** (depth - 8)
    scales = ((peak, 0), (peak, 128 * unit)) if full else ((219 * unit, 16 * unit), (224 * unit, 128 * unit))
    numbers = [np.round(part * scales[i > 0][0] + scales[i > 0][1]).clip(0, peak) for i, part in enumerate((luma, *chroma))]
    name = "yuv444p" if depth == 8 else "yuv444p10le"
    with av.open(str(tmp_path / "chart.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, name
        context.colorspace, context.color_range = matrix, 2 if full else 1
        frame = av.VideoFrame(WIDTH, HEIGHT, name)
        for plane, part in enumerate(numbers):
            view(frame, plane, layout_named(name))[:] = part
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    seen: list[Tensor] = []

    def look(frames: Iterator[Tensor]) -> Iterator[Tensor]:
        for frame in frames:
            seen.append(frame)
            yield frame

    copy_video(tmp_path / "chart.mkv", tmp_path / "again.mkv", look, FFV1)
    y, u, v = ((part - scales[i > 0][1]) / scales[i > 0][0] for i, part in enumerate(numbers))
    expected_red, expected_blue = y + (2 - 2 * red) * v, y + (2 - 2 * blue) * u
    expected_green = (y - red * expected_red - blue * expected_blue) / (1 - red - blue)
    expected = np.stack((expected_red, expected_green, expected_blue), 2)
    assert np.abs(seen[0].numpy() - expected).max() < 1e-5
    assert np.abs(expected - rgb).max() < 2 / (219 * unit)  # what rounding of the chart itself may do


def test_untagged_colours_follow_the_usual_rules() -> None:
    yuv, grey, rgb = layout_named("yuv420p"), layout_named("gray"), layout_named("gbrp")

    def matrix(width: int, height: int) -> int:
        return resolve(yuv, 2, 0, 2, 2, width=width, height=height).matrix

    assert [matrix(640, 480), matrix(1024, 576), matrix(1280, 720), matrix(1080, 608), matrix(720, 1280)] == [6, 6, 1, 1, 1]
    assert not resolve(yuv, 1, 0, 2, 2, width=8, height=8).full
    assert resolve(layout_named("yuvj420p"), 1, 0, 2, 2, width=8, height=8).full
    assert resolve(grey, 2, 0, 2, 2, width=8, height=8).full
    assert resolve(rgb, 1, 1, 2, 2, width=8, height=8) == Colour(0, True)
    with pytest.raises(VideoError, match="number 14 of ITU-T"):
        resolve(yuv, 14, 1, 2, 2, width=8, height=8)


def test_the_closest_layout_keeps_most_and_wastes_least() -> None:
    offered = [layout_named(name) for name in ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv444p10le", "yuva444p10le", "gbrp")]
    for wanted, expected in {
        "yuv420p": "yuv420p", "yuv420p9le": "yuv420p10le", "yuv422p10le": "yuv444p10le", "yuv440p": "yuv444p", "gbrp": "gbrp",
        "gbrp12le": "yuv444p10le", "yuva420p": "yuva444p10le", "gray": "yuv420p", "yuv420p12le": "yuv420p10le",
    }.items():  # fmt: skip
        assert closest(layout_named(wanted), offered).name == expected, wanted


# Whole files


@pytest.mark.parametrize(
    "pixel_format",
    ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv444p10le", "yuv422p12le", "yuv444p16le", "yuva420p", "yuva444p10le", "bgr0",
     "bgra", "gbrp10le", "gray", "gray16le"],
)  # fmt: skip
@pytest.mark.parametrize("tags", [{}, {"colorspace": 9, "color_range": 1}, {"colorspace": 1, "color_range": 2}])
def test_nothing_is_lost_without_loss(tmp_path: Path, pixel_format: str, tags: dict[str, int]) -> None:
    expected = make(tmp_path / "a.mkv", pixel_format, tags=tags)
    report = copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", settings=FFV1)
    assert_same(read(tmp_path / "b.mkv")[0], expected)
    assert (report.frames, report.broken, report.warnings) == (FRAMES, 0, ())
    assert probe(tmp_path / "b.mkv").pixel_format == probe(tmp_path / "a.mkv").pixel_format


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p"])
def test_h264_without_loss_is_without_loss(tmp_path: Path, pixel_format: str) -> None:
    expected = make(tmp_path / "a.mkv", pixel_format)
    copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", settings=LOSSLESS)
    assert_same(read(tmp_path / "b.mkv")[0], expected)


@pytest.mark.parametrize(
    ("codec", "suffix", "name"),
    [("h264", ".mp4", "h264"), ("h264", ".mov", "h264"), ("hevc", ".mp4", "hevc"), ("av1", ".mp4", "av1"), ("av1", ".webm", "av1"),
     ("vp9", ".webm", "vp9"), ("prores", ".mov", "prores"), ("ffv1", ".mkv", "ffv1"), ("auto", ".webm", "av1")],
)  # fmt: skip
def test_each_codec_writes_what_is_doubled(tmp_path: Path, codec: str, suffix: str, name: str) -> None:
    make(tmp_path / "a.mkv", size=(96, 64))
    target = tmp_path / f"b{suffix}"
    report = copy_video(tmp_path / "a.mkv", target, doubled, VideoSettings(codec=codec))
    info = probe(target)
    assert (info.width, info.height, info.codec, report.frames) == (192, 128, name, FRAMES)
    assert len(read(target)[0]) == FRAMES
    assert (info.colour.matrix, info.colour.full) == (6, False)


@pytest.mark.parametrize("codec", ["ffv1", "h264", "hevc", "vp9", "av1"])
def test_odd_sizes(tmp_path: Path, codec: str) -> None:
    """ffv1 and vp9 take them; the others get the last row and column twice, and say so."""
    expected = make(tmp_path / "a.mkv", size=(67, 65))
    report = copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", settings=VideoSettings(codec=codec))
    info = probe(tmp_path / "b.mkv")
    if codec in ("ffv1", "vp9"):
        assert (info.width, info.height, report.warnings) == (67, 65, ())
    else:
        assert (info.width, info.height) == (68, 66)
        assert any("68x66 of 67x65" in warning for warning in report.warnings)
    if codec == "ffv1":
        assert_same(read(tmp_path / "b.mkv")[0], expected)


def test_a_format_that_the_codec_has_not_becomes_the_closest(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", "yuva444p10le", size=(64, 64))
    report = copy_video(tmp_path / "a.mkv", tmp_path / "b.webm", settings=VideoSettings(codec="av1"))
    assert probe(tmp_path / "b.webm").pixel_format == "yuv420p10le"
    assert any("Alpha was left out" in warning for warning in report.warnings)
    report = copy_video(tmp_path / "a.mkv", tmp_path / "b.mov", settings=VideoSettings(codec="prores"))
    assert probe(tmp_path / "b.mov").alpha
    assert report.warnings == ()
    copy_video(tmp_path / "a.mkv", tmp_path / "b.mp4", settings=VideoSettings(pixel_format="yuv420p"))
    assert probe(tmp_path / "b.mp4").pixel_format == "yuv420p"


def test_alpha_of_vp9_is_written_and_read(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", "yuva420p")
    copy_video(tmp_path / "a.mkv", tmp_path / "b.webm", settings=VideoSettings(codec="vp9"))
    channels: list[int] = []

    def look(frames: Iterator[Tensor]) -> Iterator[Tensor]:
        for frame in frames:
            channels.append(frame.shape[2])
            yield frame

    copy_video(tmp_path / "b.webm", tmp_path / "c.webm", look, VideoSettings(codec="vp9"))
    assert channels == [4] * FRAMES
    assert probe(tmp_path / "c.webm").alpha


# What is kept


UNEVEN = [0, 1, 4, 9, 16, 17, 30]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_times_stay(tmp_path: Path, codec: str, suffix: str) -> None:
    make(tmp_path / "a.mkv", times=[40 * time for time in UNEVEN], time_base=Fraction(1, 1000), size=(64, 64))
    copy_video(tmp_path / "a.mkv", tmp_path / f"b{suffix}", settings=VideoSettings(codec=codec))
    assert read(tmp_path / f"b{suffix}")[1] == [time * Fraction(1, 25) for time in UNEVEN] == read(tmp_path / "a.mkv")[1]


@pytest.mark.parametrize("codec", ["av1", "vp9"])
def test_the_last_frame_stays_as_long(tmp_path: Path, codec: str) -> None:
    """Not of codecs that reorder frames: MP4 ends with the frame that is decoded last."""
    options = {"bf": "0"}  # whose order is that of time, so that the last packet is the last frame
    times = [40 * time for time in UNEVEN]
    make(tmp_path / "a.mp4", codec="libx264", times=times, time_base=Fraction(1, 1000), size=(64, 64), options=options)
    copy_video(tmp_path / "a.mp4", tmp_path / "b.mp4", settings=VideoSettings(codec=codec))

    def length(path: Path) -> Fraction:
        with av.open(str(path)) as container:
            return Fraction(container.duration, av.time_base)

    assert length(tmp_path / "b.mp4") == length(tmp_path / "a.mp4") == UNEVEN[-1] * Fraction(1, 25) + Fraction(1, 25)


def test_times_of_a_fine_clock_stay(tmp_path: Path) -> None:
    times = [0, 3003, 6007, 9009, 14000]
    make(tmp_path / "a.mp4", codec="libx264", times=times, time_base=Fraction(1, 90000))
    copy_video(tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert read(tmp_path / "b.mp4")[1] == [Fraction(time, 90000) for time in times]


@pytest.mark.parametrize("tags", [(9, 1, 9, 16), (1, 2, 1, 1), (5, 1, 5, 6)])
@pytest.mark.parametrize(
    ("codec", "suffix"), [("h264", ".mp4"), ("h264", ".mkv"), ("hevc", ".mp4"), ("av1", ".mp4"), ("vp9", ".mp4"), ("prores", ".mov")]
)
def test_tags_of_colour_and_shape_stay(tmp_path: Path, codec: str, suffix: str, tags: tuple[int, int, int, int]) -> None:
    matrix, colour_range, primaries, transfer = tags
    if codec == "prores":
        colour_range = 1  # it knows no other
    told = {"colorspace": matrix, "color_range": colour_range, "color_primaries": primaries, "color_trc": transfer}
    pixel_format = "yuv422p10le" if codec == "prores" else "yuv420p"
    make(tmp_path / "a.mkv", pixel_format, codec="libx264", tags=told, ratio=Fraction(4, 3), size=(64, 64))
    report = copy_video(tmp_path / "a.mkv", tmp_path / f"b{suffix}", doubled, VideoSettings(codec=codec))
    assert report.warnings == ()
    info = probe(tmp_path / f"b{suffix}")
    assert info.colour == Colour(matrix, colour_range == 2, primaries, transfer)
    assert info.sample_aspect_ratio == Fraction(4, 3)


def test_what_hdr_says_of_a_display_is_left_out_and_told(tmp_path: Path) -> None:
    told = "log-level=error:hdr10=1:max-cll=1000,400:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    tags = {"color_primaries": 9, "color_trc": 16, "colorspace": 9}
    make(tmp_path / "a.mkv", "yuv420p10le", codec="libx265", size=(64, 64), tags=tags, options={"x265-params": told})
    report = copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", settings=FFV1)
    assert [warning for warning in report.warnings if "HDR10" in warning]
    assert probe(tmp_path / "b.mkv").pixel_format == "yuv420p10le"


def test_a_shape_of_pixels_that_cannot_be_told_is_told_here(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", codec="libx264", ratio=Fraction(4, 3))
    report = copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", settings=FFV1)
    assert "pixels are not square" in report.warnings[0]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_other_streams_and_metadata_stay(tmp_path: Path, suffix: str) -> None:
    make(tmp_path / "a.mkv", audio=True, subtitles=suffix == ".mkv", metadata={"title": "a title", "prompt": "{}"})
    report = copy_video(tmp_path / "a.mkv", tmp_path / f"b{suffix}", doubled)
    info = probe(tmp_path / f"b{suffix}")
    assert report.warnings == ()
    assert [(one.codec, one.channels, one.sample_rate) for one in info.audio] == [("aac", 1, 48000)]
    before, after = packets(tmp_path / "a.mkv", "audio"), packets(tmp_path / f"b{suffix}", "audio")
    assert [content for _, content in after] == [content for _, content in before]
    assert all(abs(new - old) < Fraction(1, 1000) for (new, _), (old, _) in zip(after, before, strict=True))
    if suffix == ".mkv":
        assert info.subtitles == ("subrip",)
        assert packets(tmp_path / "b.mkv", "subtitle") == [(0, b"line 0"), (1, b"line 1")]
    with av.open(str(tmp_path / f"b{suffix}")) as container:
        metadata = {key.lower(): text for key, text in container.metadata.items()}
    assert (metadata["title"], metadata["prompt"]) == ("a title", "{}")


def test_what_a_container_does_not_hold_is_named(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", audio=True, subtitles=True, size=(64, 64))
    report = copy_video(tmp_path / "a.mkv", tmp_path / "b.webm", settings=VideoSettings(codec="av1"))
    assert [warning.split(" was left out")[0] for warning in report.warnings] == [
        "Stream 1 of the source, audio (aac),", "Stream 2 of the source, subtitle (subrip),",
    ]  # fmt: skip
    assert (probe(tmp_path / "b.webm").audio, probe(tmp_path / "b.webm").subtitles) == ((), ())


def test_a_cover_is_not_taken_for_the_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        cover, video = container.add_stream("mjpeg", rate=1), container.add_stream("libx264", rate=25)
        cover.width, cover.height, cover.pix_fmt, cover.disposition = 16, 16, "yuvj420p", av.stream.Disposition.attached_pic.value
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for stream, frame in ((cover, av.VideoFrame(16, 16, "yuvj420p")), (video, av.VideoFrame(WIDTH, HEIGHT, "yuv420p"))):
            frame.pts = 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert len(container.streams.video) == 2
    report = copy_video(tmp_path / "a.mp4", tmp_path / "b.mkv")
    assert (report.frames, report.warnings) == (1, ("The picture of its cover was left out.",))
    assert probe(tmp_path / "b.mkv").width == WIDTH


@pytest.mark.skipif(not hasattr(av.container.OutputContainer, "set_chapters"), reason="this PyAV knows no chapters")
def test_chapters_and_attachments_stay(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        container.add_attachment("font.ttf", "font/ttf", b"letters")
        base = Fraction(1, 1000)
        container.set_chapters(
            [
                {"id": 1, "start": 0, "end": 400, "time_base": base, "metadata": {"title": "one"}},
                {"id": 2, "start": 400, "end": 1000, "time_base": base, "metadata": {"title": "two"}},
            ]
        )
        for index in range(25):
            frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv")
    copy_video(tmp_path / "a.mkv", tmp_path / "c.mkv", start=0.2, duration=0.4)
    assert probe(tmp_path / "b.mkv").attachments == 1

    def chapters(path: Path) -> list[tuple[str, Fraction, Fraction]]:
        with av.open(str(path)) as container:
            return [
                (one["metadata"]["title"], one["start"] * one["time_base"], one["end"] * one["time_base"]) for one in container.chapters()
            ]

    assert chapters(tmp_path / "b.mkv") == [("one", 0, Fraction(2, 5)), ("two", Fraction(2, 5), 1)]
    assert chapters(tmp_path / "c.mkv") == [("one", 0, Fraction(1, 5)), ("two", Fraction(1, 5), Fraction(2, 5))]


def turn(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Marks the first track of an MP4 as turned: in its header, where PyAV does not reach."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (number << 16 for number in matrix)
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


@pytest.mark.parametrize(("matrix", "quarters"), [((0, -1, 1, 0), 1), ((-1, 0, 0, -1), 2), ((0, 1, -1, 0), 3)])
def test_frames_are_turned_as_they_are_displayed(tmp_path: Path, matrix: tuple[int, int, int, int], quarters: int) -> None:
    expected = make(tmp_path / "a.mp4", "yuv444p", codec="libx264", options={"qp": "0"}, ratio=Fraction(4, 3))
    turn(tmp_path / "a.mp4", matrix)
    assert probe(tmp_path / "a.mp4").rotation == 90 * quarters
    copy_video(tmp_path / "a.mp4", tmp_path / "b.mp4", settings=LOSSLESS)
    before, after = probe(tmp_path / "a.mp4"), probe(tmp_path / "b.mp4")
    assert after.rotation == 0
    assert (after.width, after.height, after.sample_aspect_ratio) == (before.width, before.height, before.sample_aspect_ratio)
    assert before.sample_aspect_ratio == (Fraction(3, 4) if quarters % 2 else Fraction(4, 3))
    assert_same(read(tmp_path / "b.mp4")[0], [[np.rot90(plane, quarters) for plane in frame] for frame in expected])


# Windows


@pytest.mark.parametrize(("start", "duration", "first", "last"), [(0.4, 0, 10, 25), (0.4, 0.2, 10, 15), (0, 0.2, 0, 5), (-0.2, 0, 20, 25)])
@pytest.mark.parametrize(("codec", "suffix"), [("libx264", ".mp4"), ("ffv1", ".mkv")])
def test_a_window(tmp_path: Path, codec: str, suffix: str, start: float, duration: float, first: int, last: int) -> None:
    make(tmp_path / f"a{suffix}", codec=codec, times=list(range(25)), audio=True, options={"qp": "0"} if codec == "libx264" else None)
    before = read(tmp_path / f"a{suffix}")[0]
    with av.open(str(tmp_path / f"a{suffix}")) as container:
        whole = Fraction(container.duration, av.time_base)
    report = copy_video(tmp_path / f"a{suffix}", tmp_path / "b.mkv", settings=FFV1, start=start - (float(whole) - 1 if start < 0 else 0),
                        duration=duration)  # fmt: skip
    frames, times = read(tmp_path / "b.mkv")
    assert report.frames == last - first
    assert_same(frames, before[first:last])
    assert [time - times[0] for time in times] == [index * Fraction(1, 25) for index in range(last - first)]
    assert times[0] < Fraction(1, 25)
    sound = packets(tmp_path / "b.mkv", "audio")
    length = (last - first) / 25
    assert abs(float(sound[-1][0] - sound[0][0]) + 0.0213 - length) < 0.05
    assert {content for _, content in sound} <= {content for _, content in packets(tmp_path / f"a{suffix}", "audio")}


def test_a_window_of_a_container_without_an_index(tmp_path: Path) -> None:
    """There is one key frame, at the start; and the first time is not 0."""
    times = [3600 * time for time in range(40)]
    make(tmp_path / "a.ts", codec="libx264", times=times, time_base=Fraction(1, 90000), audio=True)
    report = copy_video(tmp_path / "a.ts", tmp_path / "b.mkv", settings=FFV1, start=0.4, duration=0.2)
    frames, times = read(tmp_path / "b.mkv")
    assert_same(frames, read(tmp_path / "a.ts")[0][10:15])
    assert [time - times[0] for time in times] == [index * Fraction(1, 25) for index in range(5)]
    assert report.warnings == ()


def test_a_window_between_two_frames(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", times=[0, 100])
    with pytest.raises(VideoError, match=r"No frame of .* begins in the window from 1\.000 s on"):
        copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", start=1, duration=1)


def test_windows_that_are_none(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv")
    with pytest.raises(OptionError, match=r"lasts 0\.200 seconds, and the start is at 3"):
        copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", start=3)
    with pytest.raises(OptionError, match="duration is -1"):
        copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", duration=-1)


# Sources and settings


def test_a_file_in_memory(tmp_path: Path) -> None:
    memory = io.BytesIO()
    expected = make(memory, form="matroska")
    assert probe(memory).frames == FRAMES
    for _ in range(2):
        copy_video(memory, tmp_path / "b.mkv", settings=FFV1, overwrite=True)
        assert_same(read(tmp_path / "b.mkv")[0], expected)


def test_probe(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", "yuv420p10le", audio=True, subtitles=True, times=list(range(50)))
    info = probe(tmp_path / "a.mkv")
    assert (info.width, info.height, info.fps, info.codec) == (WIDTH, HEIGHT, 25, "ffv1")
    assert (info.pixel_format, info.depth, info.alpha) == ("yuv420p10le", 10, False)
    assert abs(info.frames - 50) <= 1
    assert abs(info.duration - 2) < 0.05
    assert (len(info.audio), info.subtitles, info.rotation) == (1, ("subrip",), 0)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("b.avi", VideoSettings(), r"'b\.avi' does not end in a suffix"),
        ("b.mp4", VideoSettings(codec="mpeg9"), "codec 'mpeg9' is not known; expected one of auto, h264"),
        ("b.webm", VideoSettings(), r"Files of \.webm do not hold h264, but av1, vp9; for h264, choose one of \.mp4"),
        ("b.mp4", VideoSettings(codec="ffv1"), r"for ffv1, choose one of \.mkv"),
        ("b.mp4", VideoSettings(quality=52), "quality is 52; expected 0 to 51"),
        ("b.mkv", VideoSettings(codec="ffv1", quality=5), "ffv1 has no quality"),
        ("b.mkv", VideoSettings(codec="ffv1", preset="slow"), "ffv1 has no presets"),
        ("b.mp4", VideoSettings(pixel_format="yuv420p99"), "no pixel format 'yuv420p99'; expected one of gray"),
    ],
)
def test_settings_that_do_not_go_together(tmp_path: Path, name: str, settings: VideoSettings, message: str) -> None:
    make(tmp_path / "a.mkv")
    with pytest.raises(OptionError, match=message):
        copy_video(tmp_path / "a.mkv", tmp_path / name, settings=settings)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


def test_a_preset_that_is_none(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv")
    with pytest.raises(VideoError, match="libx264 does not take frames of 48x32 pixels in yuv420p"):
        copy_video(tmp_path / "a.mkv", tmp_path / "b.mp4", settings=VideoSettings(preset="quickest"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


def test_x265_is_not_given_what_breaks_it(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv")
    with pytest.raises(VideoError, match="libx265 takes sides of 64 pixels or more, not 48x32"):
        copy_video(tmp_path / "a.mkv", tmp_path / "b.mp4", settings=VideoSettings(codec="hevc"))


def test_hardware_is_used_only_where_it_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "a.mkv")
    assert copy_video(tmp_path / "a.mkv", tmp_path / "b.mp4", settings=VideoSettings(codec="auto")).encoder == "libx264"
    tried: list[str] = []

    def opens(self: object, encoder: Encoder, picture: object) -> bool:
        tried.append(encoder.name)
        return encoder.name == "mpeg4"

    present = (CODECS["h264_nvenc"], Encoder("mpeg4"), CODECS["h264"])  # any encoder that is there stands in for one in hardware
    monkeypatch.setattr(video_writer.VideoWriter, "_opens", opens)
    monkeypatch.setattr(video_writer, "encoders", lambda path, settings: present)
    assert copy_video(tmp_path / "a.mkv", tmp_path / "c.mp4", settings=VideoSettings(codec="auto")).encoder == "mpeg4"
    assert tried == ["h264_nvenc", "mpeg4"]
    assert probe(tmp_path / "c.mp4").codec == "mpeg4"


def test_a_song_with_a_cover_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        cover, sound = container.add_stream("mjpeg", rate=1), container.add_stream("aac", rate=48000, layout="mono")
        cover.width, cover.height, cover.pix_fmt, cover.disposition = 16, 16, "yuvj420p", av.stream.Disposition.attached_pic.value
        picture = av.VideoFrame(16, 16, "yuvj420p")
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        tone.sample_rate, picture.pts, tone.pts = 48000, 0, 0
        for stream, frame in ((cover, picture), (sound, tone)):
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    with pytest.raises(VideoError, match="has no video stream; its streams: audio, video"):
        probe(tmp_path / "a.mp4")


def test_without_pyav_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match="pip install av"):
        probe(tmp_path / "a.mkv")


# Faults


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("a."))


def test_sources_that_are_no_videos(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video at all\n" * 1000)
    (tmp_path / "empty.mkv").touch()
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        tone.sample_rate, tone.pts = 48000, 0
        container.mux(stream.encode(tone))
        container.mux(stream.encode(None))
    make(tmp_path / "broken.mp4", codec="libx264")
    content = (tmp_path / "broken.mp4").read_bytes()
    (tmp_path / "broken.mp4").write_bytes(content[: len(content) // 2])
    for name, message in {
        "missing.mp4": "is no file that is there",
        "text.mp4": "cannot be read as a video",
        "empty.mkv": "cannot be read as a video",
        "broken.mp4": "its end is missing",
        "sound.mkv": "has no video stream; its streams: audio",
    }.items():
        with pytest.raises(VideoError, match=message):
            probe(tmp_path / name)
        with pytest.raises(VideoError, match=message):
            copy_video(tmp_path / name, tmp_path / "b.mp4")
    assert not (tmp_path / "b.mp4").exists()


def damage(path: Path, which: set[int]) -> None:
    """Writes over the middle of some of the packets of a video."""
    with av.open(str(path)) as container:
        places = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    content = path.read_bytes()
    for index in which:
        packet = places[index]
        content = content.replace(packet, packet[:40] + bytes(len(packet) - 80) + packet[-40:])
    path.write_bytes(content)


def test_broken_frames_are_left_out_and_counted(tmp_path: Path) -> None:
    expected = make(tmp_path / "a.mov", "rgb24", codec="png", times=list(range(6)))
    damage(tmp_path / "a.mov", {1, 4})
    report = copy_video(tmp_path / "a.mov", tmp_path / "b.mkv", settings=FFV1)
    frames, times = read(tmp_path / "b.mkv")
    assert (report.frames, report.broken) == (4, 2)
    assert "2 of the frames" in report.warnings[0]
    assert_same(frames, [expected[index] for index in (0, 2, 3, 5)])
    assert times == [index * Fraction(1, 25) for index in (0, 2, 3, 5)]


def test_a_video_that_is_all_broken(tmp_path: Path) -> None:
    make(tmp_path / "a.mov", "rgb24", codec="png")
    damage(tmp_path / "a.mov", set(range(FRAMES)))
    with pytest.raises(VideoError, match="has no frame that can be decoded"):
        copy_video(tmp_path / "a.mov", tmp_path / "b.mkv")
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mkv", "ffv1"), ("a.webm", "libvpx-vp9"), ("a.mp4", "libx264"), ("a.mov", "mpeg4"), ("a.avi", "mpeg4"), ("a.flv", "flv")],
)
def test_a_source_that_breaks_off(tmp_path: Path, name: str, codec: str) -> None:
    make(tmp_path / name, codec=codec, times=list(range(50)))
    if name in ("a.mp4", "a.mov"):
        faststart(tmp_path / name)
    copy_video(tmp_path / name, tmp_path / "whole.mkv", settings=FFV1)
    expected, _ = read(tmp_path / "whole.mkv")
    assert len(expected) == 50
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) * 6 // 10])
    for method in (lambda: copy_video(tmp_path / name, tmp_path / "b.mkv", settings=FFV1), lambda: plan_segments(tmp_path / name)):
        with pytest.raises(VideoError, match=r"breaks off after \d\.\d s of 2\.0 s that it should last"):
            method()
    frames, _ = read(tmp_path / "b.part.mkv")
    assert 20 <= len(frames) <= 32
    assert_same(frames[:20], expected[:20])
    assert left(tmp_path) == ["b.part.mkv", "whole.mkv"]
    report = copy_video(tmp_path / name, tmp_path / "c.mkv", settings=FFV1, duration=0.6)
    assert (report.frames, report.warnings) == (15, ())


def faststart(path: Path) -> None:
    """Moves the index of an MP4 to its front, as files for the web have it."""
    with av.open(str(path)) as source, av.open(str(path.with_suffix(".web" + path.suffix)), "w", options={"movflags": "faststart"}) as web:
        stream = web.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                web.mux(packet)
    path.with_suffix(".web" + path.suffix).replace(path)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4"])
def test_a_video_whose_last_frame_stays_long_does_not_break_off(tmp_path: Path, name: str) -> None:
    make(tmp_path / name, codec="libx264", times=[0, 100, 200, 300], time_base=Fraction(1, 25), audio=True)
    assert copy_video(tmp_path / name, tmp_path / "b.mkv", settings=FFV1).frames == 4


def grow(path: Path) -> None:
    """A video of two sizes: MJPEG has the size in each frame."""
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


def test_a_size_that_changes_ends_it_and_what_is_finished_stays(tmp_path: Path) -> None:
    grow(tmp_path / "a.mkv")
    with pytest.raises(VideoError, match=r"from 48x32 to 64x64.*The 4 frames that were finished are in '.*b\.part\.mp4'"):
        copy_video(tmp_path / "a.mkv", tmp_path / "b.mp4")
    assert left(tmp_path) == ["b.part.mp4"]
    assert len(read(tmp_path / "b.part.mp4")[0]) == 4


def fails(error: BaseException, after: int) -> Callable[[Iterator[Tensor]], Iterator[Tensor]]:
    def transform(frames: Iterator[Tensor]) -> Iterator[Tensor]:
        for index, frame in enumerate(frames):
            if index == after:
                raise error
            yield frame

    return transform


def test_an_error_of_the_library_in_the_transform_keeps_what_is_finished(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", times=list(range(20)))
    with pytest.raises(NotFiniteError, match=r"oh\. The 7 frames"):
        copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", fails(NotFiniteError("oh."), 7))
    assert len(read(tmp_path / "b.part.mkv")[0]) == 7


@pytest.mark.parametrize("error", [RuntimeError("oh"), KeyboardInterrupt(), Stop()])
def test_other_errors_leave_nothing(tmp_path: Path, error: BaseException) -> None:
    make(tmp_path / "a.mkv", times=list(range(20)))
    with pytest.raises(type(error)):
        copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", fails(error, 7))
    assert left(tmp_path) == []


def test_cancelling_leaves_nothing(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", times=list(range(20)))
    (tmp_path / "b.mkv").write_bytes(b"before")
    with pytest.raises(Stop):
        copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", progress=stop_at(3), overwrite=True)
    assert left(tmp_path) == ["b.mkv"]
    assert (tmp_path / "b.mkv").read_bytes() == b"before"
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]


def test_progress_counts_frames(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", times=list(range(20)))
    told: list[tuple[int, int]] = []
    copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", progress=lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == list(range(1, 21))
    assert {total for _, total in told} == {20}


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_full_disk(tmp_path: Path, suffix: str) -> None:
    resource = pytest.importorskip("resource", reason="only Unix limits the size of files")
    make(tmp_path / "a.mkv", times=list(range(40)))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            copy_video(tmp_path / "a.mkv", tmp_path / f"b{suffix}", settings=LOSSLESS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert left(tmp_path) == []


@pytest.mark.parametrize("many", [False, True])
def test_a_transform_that_does_not_give_one_for_each(tmp_path: Path, many: bool) -> None:
    make(tmp_path / "a.mkv", times=list(range(20)))

    def transform(frames: Iterator[Tensor]) -> Iterator[Tensor]:
        for index, frame in enumerate(frames):
            yield from [frame] * (2 if many else index % 2)

    with pytest.raises(VideoError, match="more frames than it was given" if many else "ended after 10 frames"):
        copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", transform)


def test_memory_does_not_grow_with_the_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the transform or the encoder is, the others wait for it after a few frames."""
    make(tmp_path / "a.mkv", times=list(range(40)))
    decode, decoded, ahead = video_reader.image_of, 0, [0]
    written: list[int] = []

    def image_of(*arguments: Any) -> Tensor:
        nonlocal decoded
        decoded += 1
        return decode(*arguments)

    def slow(frames: Iterator[Tensor]) -> Iterator[Tensor]:
        for taken, frame in enumerate(frames, start=1):
            time.sleep(0.002)
            ahead.append(decoded - taken)
            yield frame

    write = video_writer.VideoWriter.write

    def slow_write(self: video_writer.VideoWriter, frame: Any) -> None:
        time.sleep(0.004)
        write(self, frame)
        written.append(decoded)

    monkeypatch.setattr(video_reader, "image_of", image_of)
    monkeypatch.setattr(video_writer.VideoWriter, "write", slow_write)
    copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", slow)
    assert max(ahead) <= 4
    assert max(seen - index for index, seen in enumerate(written, start=1)) <= 9


def test_a_channel_passes_things_and_errors_on() -> None:
    channel: Channel[int] = Channel(2)
    channel.put(1)
    channel.finish(ValueError())
    things = iter(channel)
    assert next(things) == 1
    with pytest.raises(ValueError):  # noqa: PT011  it has no message
        next(things)
    channel = Channel(1)
    channel.put(1)
    channel.fail(KeyError())
    with pytest.raises(KeyError):
        channel.put(2)
    with pytest.raises(KeyError):
        next(iter(channel))
