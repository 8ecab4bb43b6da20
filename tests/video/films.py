"""Small videos for tests, and functions that read and damage them."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from span_arch.video import VideoSettings
from span_arch.video.pixel_formats import Layout, parse, planar

av = pytest.importorskip("av", reason="PyAV is not installed")

WIDTH, HEIGHT, FRAMES = 48, 32, 5
FFV1 = VideoSettings(codec="ffv1")
LOSSLESS = VideoSettings(quality=0)
SUBTITLES = b"1\n00:00:00,000 --> 00:00:00,500\nline 0\n\n2\n00:00:01,000 --> 00:00:01,500\nline 1\n"

_STEPS = [3003, 1501, 9000, 450, 450, 450, 450, 12000, 12000, 450, 3003, 3003, 1501, 3003, 3003, 3003, 3003, 6604, 3003]
UNEVEN = list(accumulate(_STEPS, initial=0))
"""Times of twenty frames in units of 1/90000 s. They are far apart from the eighth on, where an encoder's decoding times begin early."""

KEYS = {"g": "4", "x264-params": "scenecut=0:bframes=2"}
"""x264 options for a key frame every four frames."""

Planes = list[NDArray[Any]]


def layout_named(name: str) -> Layout:
    """Return the layout of a pixel format that has one."""
    layout = parse(name)
    assert layout is not None
    return layout


def noise(layout: Layout, seed: int, width: int = WIDTH, height: int = HEIGHT) -> Planes:
    """Return planes with samples of the whole range."""
    random = np.random.default_rng(seed)
    dtype = np.uint8 if layout.depth == 8 else np.uint16
    return [random.integers(0, 2**layout.depth, layout.size(plane, height, width), dtype) for plane in range(layout.planes)]


def view(frame: Any, index: int, layout: Layout) -> NDArray[Any]:
    """Return the samples of a channel in place."""
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
) -> list[Planes]:
    """Write a small video of noise, and return the planes of its frames."""
    layout = planar(av.VideoFormat(pixel_format))
    written: list[Planes] = []
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
        track = container.add_stream("aac", rate=48000, layout="mono") if audio else None
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
        if track is not None:
            write_tone(container, track, np.random.default_rng(0).uniform(-1, 1, (1, 48000)).astype(np.float32))
        if template is not None:
            for packet in template.demux(subtitles=0):
                if packet.size:
                    packet.stream = text
                    container.mux(packet)
            template.close()
    return written


def write_tone(container: Any, stream: Any, samples: NDArray[np.float32] | None = None) -> None:
    """Write mono audio, by default a moment of silence, to an AAC stream of 48 kHz."""
    samples = np.zeros((1, 4096), np.float32) if samples is None else samples
    tone = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
    tone.sample_rate, tone.pts = 48000, 0
    container.mux(stream.encode(tone))
    container.mux(stream.encode(None))


def film(path: Path, pixel_format: str = "yuv420p", codec: str = "libx264", **options: Any) -> Path:
    """Write twenty frames of noise with a key frame every four, at uneven times, with audio and a title."""
    defaults = {"times": UNEVEN, "time_base": Fraction(1, 90000), "options": KEYS if codec == "libx264" else {}, "audio": True}
    make(path, pixel_format, codec=codec, metadata={"title": "a title"}, **(defaults | options))
    return path


def read(path: Path) -> tuple[list[Planes], list[Fraction]]:
    """Return the planes of all frames of a file, and their times in seconds."""
    frames, times = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            layout = planar(frame.format)
            times.append(frame.pts * frame.time_base)
            frames.append([view(frame, plane, layout).copy() for plane in range(layout.planes)])
    return frames, times


def packets(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    """Return times and content of the packets of the first stream of a kind."""
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [(packet.pts * packet.time_base, bytes(packet)) for packet in container.demux(stream) if packet.size]


def assert_same(found: list[Planes], expected: list[Planes]) -> None:
    """Check that frames are equal, sample by sample."""
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        for plane, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(plane, other)


def doubled(frames: Iterator[Tensor]) -> Iterator[Tensor]:
    """Repeat each pixel of frames in both directions."""
    for frame in frames:
        yield frame.repeat_interleave(2, 0).repeat_interleave(2, 1)


def collecting(images: list[Tensor]) -> Callable[[Iterator[Tensor]], Iterator[Tensor]]:
    """Return a transform that changes nothing and collects the frames in a list."""

    def transform(frames: Iterator[Tensor]) -> Iterator[Tensor]:
        for frame in frames:
            images.append(frame.clone())
            yield frame

    return transform


def turn(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Mark the first track of an MP4 as rotated. PyAV cannot, so this changes its header."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (number << 16 for number in matrix)
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)


def damage(path: Path, which: set[int]) -> None:
    """Overwrite the middle of some of a video's packets."""
    with av.open(str(path)) as container:
        places = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    content = path.read_bytes()
    for index in which:
        packet = places[index]
        content = content.replace(packet, packet[:40] + bytes(len(packet) - 80) + packet[-40:])
    path.write_bytes(content)


def outputs(folder: Path) -> list[str]:
    """Return the names of all files in a folder except the source, which is called ``a``."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("a."))
