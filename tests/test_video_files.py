"""Reading and writing of videos: what goes through unchanged, what is kept beside the pictures, and what goes wrong."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from .faults import Stop, stop_at
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from span_arch.errors import NotFiniteError, OptionError, OutputError, VideoError
from span_arch.video import VideoSettings, copy_video, probe
from span_arch.video import writer as video_writer
from span_arch.video.channel import Channel
from span_arch.video.chroma import double_columns, double_rows, halve_columns, halve_rows
from span_arch.video.colour import Colour, resolve, to_image, to_planes
from span_arch.video.layout import Layout, closest, parse, planar

av = pytest.importorskip("av", reason="PyAV is not installed")

pytestmark = pytest.mark.usefixtures("one_thread")

WIDTH, HEIGHT, FRAMES = 48, 32, 5
FFV1 = VideoSettings(codec="ffv1")
LOSSLESS = VideoSettings(quality=0)


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
    height, width = layout.size(index, frame.height, frame.width)
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
        text = container.add_stream("srt") if subtitles else None
        if text is not None:
            text.time_base = Fraction(1, 1000)
        for index, pts in enumerate(times or range(FRAMES)):
            planes = noise(layout, index, *size)
            frame = av.VideoFrame(*size, layout.name)
            for number, plane in enumerate(planes):
                view(frame, number, layout)[:] = plane
            if layout.name != pixel_format:
                frame = frame.reformat(format=pixel_format)
            frame.pts, frame.time_base = pts, time_base
            container.mux(stream.encode(frame))
            written.append(planes)
        container.mux(stream.encode(None))
        if sound is not None:
            waves = np.random.default_rng(0).uniform(-1, 1, (1, 48000)).astype(np.float32)
            tone = av.AudioFrame.from_ndarray(waves, format="fltp", layout="mono")
            tone.sample_rate, tone.pts = 48000, 0
            container.mux(sound.encode(tone))
            container.mux(sound.encode(None))
        if text is not None:
            for second in (0, 1):
                packet = av.Packet(f"line {second}".encode())
                packet.pts = packet.dts = second * 1000
                packet.duration, packet.time_base, packet.stream = 500, Fraction(1, 1000), text
                container.mux(packet)
    return written


def read(path: Path) -> tuple[list[list[np.ndarray[Any, Any]]], list[Fraction]]:
    """The planes of all frames of a file, and their times in seconds."""
    frames, times = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            layout = planar(frame.format)
            times.append(frame.pts * frame.time_base)
            if frame.format.name != layout.name:
                frame = frame.reformat(format=layout.name)
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
    with pytest.raises(VideoError, match="number 14 of ITU-T H.273"):
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
    ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv444p10le", "yuv422p12le", "yuv444p16le", "yuva420p", "yuva444p10le", "bgr0", "bgra",
     "gbrp10le", "gray", "gray16le"],
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
