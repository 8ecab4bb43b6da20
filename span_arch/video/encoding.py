"""The choice of an encoder, and of its settings, for the frames of one video."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from ..errors import OptionError, VideoError
from ._av import av
from .codecs import Encoder, VideoSettings, container_format, encoder_options, encoders
from .colour import BT709, RGB, Colour
from .pixel_formats import Layout, closest, parse, planar
from .reader import FrameFormat
from .video_report import Note


@dataclass(frozen=True)
class Encoding:
    """An encoder and its settings for one video."""

    source: FrameFormat
    encoder: str
    """FFmpeg's name."""
    options: Mapping[str, str]
    layout: Layout
    colour: Colour
    pixel_format: str
    """The encoder's name for the layout."""
    image_size: tuple[int, int]
    """Width and height of the images, in pixels."""
    size: tuple[int, int]
    """Width and height of the coded frames. Some codecs need even sides."""
    codec_tag: str | None
    notes: tuple[Note, ...]
    """The properties of the source that the encoding does not keep."""

    def configure(self, context: av.VideoCodecContext) -> None:
        """Set up a codec context that is not open yet."""
        context.width, context.height = self.size
        context.pix_fmt = self.pixel_format
        context.framerate, context.time_base = self.source.rate, self.source.time_base
        context.colorspace, context.color_range = self.colour.matrix, 2 if self.colour.full else 1
        context.color_primaries, context.color_trc = self.colour.primaries, self.colour.transfer
        context.sample_aspect_ratio = self.source.pixel_ratio
        if self.codec_tag is not None:
            context.codec_tag = self.codec_tag

    def add_stream(self, container: av.container.OutputContainer) -> av.VideoStream:
        """Add a stream with this encoding to a container."""
        stream = cast("av.VideoStream", container.add_stream(self.encoder, rate=self.source.rate, options=dict(self.options)))
        self.configure(stream.codec_context)
        stream.time_base = self.source.time_base
        return stream


def is_available(encoding: Encoding) -> bool:
    """Return whether the encoder exists, finds its hardware and accepts the settings."""
    try:
        context = cast("av.VideoCodecContext", av.CodecContext.create(encoding.encoder, "w"))
        encoding.configure(context)
        context.options = dict(encoding.options)
        context.open()
    except av.error.FFmpegError:
        return False
    return True


def choose_encoding(
    path: Path,
    settings: VideoSettings,
    source: FrameFormat,
    image_size: tuple[int, int],
    *,
    candidates: Sequence[Encoder] | None = None,
    is_available: Callable[[Encoding], bool] = is_available,
) -> Encoding:
    """Return the encoding for a file: with the first available encoder, or else with the last one.

    Args:
        path: the file, whose suffix names the container.
        settings, source: the user's choices, and the properties of the source's frames.
        image_size: width and height of the images to encode, in pixels.
        candidates: the encoders to try. By default those of `encoders`.
        is_available: tries an encoding.

    Raises:
        VideoError: the last encoder does not exist, or does not accept this size.
        OptionError: it does not offer the pixel format.
    """
    *preferred, last = encoders(path, settings) if candidates is None else candidates
    for encoder in preferred:
        with suppress(VideoError, OptionError):
            encoding = encoding_with(encoder, path, settings, source, image_size)
            if is_available(encoding):
                return encoding
    return encoding_with(last, path, settings, source, image_size)


def encoding_with(encoder: Encoder, path: Path, settings: VideoSettings, source: FrameFormat, image_size: tuple[int, int]) -> Encoding:
    """Return the encoding with a given encoder. Arguments and errors are as in `choose_encoding`."""
    width, height = image_size
    if (least := encoder.smallest_side) > min(image_size):
        raise VideoError(
            f"The size {width}x{height} is too small for {encoder.name}, which needs sides of {least} pixels. Try another codec."
        )
    layout, pixel_format = _choose_layout(encoder, settings.pixel_format, source.layout)
    across, down = (0, 0) if encoder.odd_sizes else layout.chroma_shifts
    size = (-(-width >> across) << across, -(-height >> down) << down)
    is_apple = encoder.name in ("libx265", "hevc_nvenc", "hevc_qsv", "hevc_videotoolbox") and container_format(path) != "matroska"
    options = encoder_options(encoder, settings, width=size[0], height=size[1])
    tag = "hvc1" if is_apple else None  # Apple's players need it
    notes: list[Note] = []
    if size != image_size:
        notes.append(Note.of("padded", source=f"{width}x{height}", result=f"{size[0]}x{size[1]}", pixel_format=layout.name))
    stores_ratio = container_format(path) in ("mp4", "mov") or encoder.name.startswith(("libx26", "h264", "hevc"))
    if source.pixel_ratio != 1 and not stores_ratio:
        notes.append(Note.of("no pixel shape", suffix=path.suffix))
    if source.layout.alpha and not layout.alpha:
        notes.append(Note("no alpha"))
    if layout.depth < source.layout.depth and settings.pixel_format is None:
        notes.append(Note.of("fewer bits", source=source.layout.depth, result=layout.depth))
    colour = _colour_for(layout, source.colour)
    return Encoding(source, encoder.name, options, layout, colour, pixel_format, image_size, size, tag, tuple(notes))


def _choose_layout(encoder: Encoder, wanted: str | None, source: Layout) -> tuple[Layout, str]:
    """Return the layout to encode, and the encoder's name for it."""
    offered = _offered(encoder)
    if wanted is None:
        layout = closest(source, offered)
        return layout, offered[layout]
    for layout, name in offered.items():
        if wanted in (layout.name, name):
            return layout, name
    known = ", ".join(sorted(layout.name for layout in offered))
    raise OptionError(f"The encoder {encoder.name} does not offer the pixel format {wanted}. Expected one of {known}.")


def _offered(encoder: Encoder) -> dict[Layout, str]:
    """Return the layouts that an encoder offers, and its names for them."""
    try:
        formats = av.Codec(encoder.name, "w").video_formats or ()
    except ValueError as error:
        raise VideoError(
            f"The encoder {encoder.name} is missing from this PyAV. Choose another codec, or: pip install --upgrade av"
        ) from error
    offered: dict[Layout, str] = {}
    for one in formats:
        if one.is_big_endian or one.name.startswith("yuvj") or not one.components:
            continue
        with suppress(VideoError):
            layout = planar(av.VideoFormat(one.name))
            if parse(one.name) is not None or layout not in offered:
                offered[layout] = one.name
    return offered


def _colour_for(layout: Layout, colour: Colour) -> Colour:
    """Return the colour encoding of a target whose layout may rule out that of the source."""
    if layout.family == "rgb":
        return replace(colour, matrix=RGB, full=True)
    return replace(colour, matrix=BT709, full=layout.family == "grey") if colour.matrix == RGB else colour
