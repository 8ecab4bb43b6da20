"""A video file that is being written: its frames are encoded, and packets of other streams pass as they are."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from ..errors import OptionError, VideoError
from ._av import pyav, reason
from .colour import BT709, RGB, Colour
from .frames import frame_of
from .layout import Layout, closest, parse, planar
from .reader import Frame, Picture, VideoReader
from .settings import Encoder, VideoSettings, container_format, encoders, options
from .source import is_cover

_STALE = (
    "DURATION", "ENCODER", "BPS", "NUMBER_OF_", "_STATISTICS", "CREATION_TIME", "VENDOR_ID", "MAJOR_BRAND", "MINOR_VERSION",
    "COMPATIBLE_BRANDS", "ALPHA_MODE",
)  # fmt: skip
"""Beginnings of the names of metadata that tell of the old file, and would not be true of the new one."""


class VideoWriter:
    """Writes what a `VideoReader` reads. The file is begun with the first frame, which tells its size.

    Args:
        path: of the file; its suffix tells the container.
        reader: what it is made of.
        settings: how.

    Raises:
        OptionError: the settings contradict each other or the suffix.
    """

    def __init__(self, path: Path, reader: VideoReader, settings: VideoSettings) -> None:
        self._path, self._reader, self._settings = path, reader, settings
        self._candidates = encoders(path, settings)
        self._lock = Lock()
        self._container: Any = None
        self._stream: Any = None
        self._waiting: list[Any] = []
        self._copies: dict[int, Any] = {}
        self._durations: dict[int, int] = {}
        self._closed = False
        self.encoder = ""
        """What FFmpeg calls the encoder; known once the first frame is there."""
        self.frames = 0
        """How many were taken."""
        self.warnings: list[str] = []

    def write(self, frame: Frame) -> None:
        """Encodes a frame.

        Raises:
            VideoError: there is no encoder for frames of this size, or it fails.
            OptionError: the encoder has no such pixel format.
            OSError: the file cannot be written.
        """
        height, width = frame.image.shape[:2]
        if self._stream is None:
            with self._lock, self._reader.lock:
                self._begin(width, height)
        elif (width, height) != self._asked:
            raise VideoError(f"A frame of {width}x{height} pixels came after one of {self._asked[0]}x{self._asked[1]}; expected one size.")
        coded = frame_of(_padded(frame.image, *self._size), self._layout, self._colour, self._pixel_format)
        coded.pts, coded.time_base = frame.pts, self._reader.time_base
        if frame.duration:
            self._durations[frame.pts] = frame.duration
        self._encode(coded)
        self.frames += 1

    def copy(self, packet: Any) -> None:
        """Takes a packet of another stream; from any thread.

        Raises:
            OSError: the file cannot be written.
        """
        with self._lock:
            if self._container is None:
                self._waiting.append(packet)
            elif not self._closed:
                self._pass_on(packet)

    def close(self) -> None:
        """Ends the file, if it was begun: the encoder gives what it has kept back.

        Raises:
            VideoError: the encoder fails.
            OSError: the file cannot be written.
        """
        if self._container is None or self._closed:
            return
        try:
            self._encode(None)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Closes the file as it is."""
        with self._lock:
            if self._container is not None and not self._closed:
                self._closed = True
                self._container.close()

    def _encode(self, frame: Any) -> None:
        try:
            packets = self._stream.encode(frame)
        except pyav().error.FFmpegError as error:
            raise VideoError(f"The encoder {self.encoder} failed ({reason(error)}). Try another codec.") from error
        with self._lock:
            for packet in packets:
                packet.duration = self._durations.pop(packet.pts, packet.duration)
                self._container.mux(packet)

    def _pass_on(self, packet: Any) -> None:
        if (stream := self._copies.get(packet.stream.index)) is not None:
            packet.stream = stream
            self._container.mux(packet)

    def _begin(self, width: int, height: int) -> None:
        picture = self._reader.picture
        assert picture is not None
        self._asked = (width, height)
        encoder = next(one for one in self._candidates if one is self._candidates[-1] or self._opens(one, picture))
        self._choose(encoder, picture)
        path, form = str(self._path), container_format(self._path)
        told = {"movflags": "+faststart+use_metadata_tags"} if form in ("mp4", "mov") else {}
        container = pyav().open(path, mode="w", format=form, container_options=told)
        try:
            self._add_streams(container, encoder, picture)
            container.start_encoding()
        except pyav().error.FFmpegError as error:
            raise VideoError(
                f"The encoder {encoder.name} does not take frames of {self._size[0]}x{self._size[1]} pixels in {self._pixel_format} with "
                f"these settings ({reason(error)}). Try another codec, quality or preset."
            ) from error
        self._container = container
        for packet in self._waiting:
            self._pass_on(packet)
        self._waiting.clear()

    def _choose(self, encoder: Encoder, picture: Picture) -> None:
        """Pixel format, colours and size, for this encoder."""
        self.encoder = encoder.name
        if (least := encoder.smallest_side) > min(self._asked):
            width, height = self._asked
            raise VideoError(f"The encoder {encoder.name} takes sides of {least} pixels or more, not {width}x{height}. Try another codec.")
        offered = _offered(encoder)
        wanted = self._settings.pixel_format
        if wanted is None:
            self._layout = closest(picture.layout, offered)
        else:
            match = [layout for layout, name in offered.items() if wanted in (layout.name, name)]
            if not match:
                known = ", ".join(sorted(layout.name for layout in offered))
                raise OptionError(f"The encoder {encoder.name} has no pixel format '{wanted}'; expected one of {known}.")
            self._layout = match[0]
        self._pixel_format = offered[self._layout]
        self._colour = _colour_for(self._layout, picture.colour)
        width, height = self._asked
        across, down = (0, 0) if encoder.odd_sizes else self._layout.halvings
        self._size = (-(-width >> across) << across, -(-height >> down) << down)

    def _opens(self, encoder: Encoder, picture: Picture) -> bool:
        """Whether there is such an encoder, and hardware for it, that takes this video."""
        av = pyav()
        try:
            self._choose(encoder, picture)
            context = av.CodecContext.create(encoder.name, "w")
            self._configure(context, encoder)
            context.options = self._options(encoder)
            context.open()
        except (av.error.FFmpegError, VideoError, OptionError):
            return False
        return True

    def _options(self, encoder: Encoder) -> dict[str, str]:
        width, height = self._size
        return options(encoder, self._settings, width=width, height=height)

    def _configure(self, context: Any, encoder: Encoder) -> None:
        context.width, context.height = self._size
        context.pix_fmt = self._pixel_format
        context.framerate, context.time_base = self._reader.rate, self._reader.time_base
        context.colorspace, context.color_range = self._colour.matrix, 2 if self._colour.full else 1
        context.color_primaries, context.color_trc = self._colour.primaries, self._colour.transfer
        if encoder.name in ("libx265", "hevc_nvenc", "hevc_qsv", "hevc_videotoolbox") and container_format(self._path) != "matroska":
            context.codec_tag = "hvc1"  # the one that players of Apple know

    def _add_streams(self, container: Any, encoder: Encoder, picture: Picture) -> None:
        for key, text in _kept(self._reader.container.metadata).items():
            container.metadata[key] = text
        for source in self._reader.container.streams:
            if source.index == self._reader.stream.index:
                stream = container.add_stream(encoder.name, rate=self._reader.rate, options=self._options(encoder))
                self._configure(stream.codec_context, encoder)
                ratio = Fraction(source.sample_aspect_ratio or 1)
                stream.codec_context.sample_aspect_ratio = 1 / ratio if picture.turns % 2 else ratio
                stream.metadata.update(_kept(source.metadata, "ROTATE"))
                self._stream = stream
            else:
                self._add_copy(container, source)
        self._tell_losses(picture)
        _copy_chapters(self._reader, container)

    def _add_copy(self, container: Any, source: Any) -> None:
        if is_cover(source):  # the place of MP4 for it is not there together with metadata of any name; Matroska would make it a video
            self.warnings.append("The picture of its cover was left out.")
            return
        try:
            if source.type == "attachment":
                container.add_attachment(source.name or "attachment", source.mimetype or "application/octet-stream", source.data)
                return
            if source.type not in ("audio", "subtitle", "video") or source.codec_context is None:
                raise ValueError("nothing to copy it with")
            stream = container.add_stream_from_template(source, opaque=True)
        except (ValueError, AttributeError):
            codec = f" ({source.codec_context.codec.canonical_name})" if source.codec_context is not None else ""
            kind = f"Stream {source.index} of the source, {source.type}{codec},"
            self.warnings.append(f"{kind} was left out: files of {self._path.suffix} do not hold it. Files of .mkv hold most.")
            return
        stream.metadata.update(_kept(source.metadata))
        stream.disposition = source.disposition.value
        self._copies[source.index] = stream

    def _tell_losses(self, picture: Picture) -> None:
        if self._size != self._asked:
            self.warnings.append(
                f"{self._layout.name} of this encoder needs even sides: the last row or column is there twice, which makes "
                f"{self._size[0]}x{self._size[1]} of {self._asked[0]}x{self._asked[1]}. The pixel format yuv444p needs none."
            )
        tells_shape = container_format(self._path) in ("mp4", "mov") or self.encoder.startswith(("libx26", "h264", "hevc"))
        if not tells_shape and (self._reader.stream.sample_aspect_ratio or 1) != 1:
            self.warnings.append(
                f"Its pixels are not square, and {self._path.suffix} with this codec cannot be told that; .mp4, .mov and h264 can."
            )
        if picture.layout.alpha and not self._layout.alpha:
            self.warnings.append("Alpha was left out: this codec holds none. prores in .mov and ffv1 in .mkv do.")
        if self._layout.depth < picture.layout.depth:
            self.warnings.append(f"The source has {picture.layout.depth} bits, and this codec keeps {self._layout.depth} of them.")


def _offered(encoder: Encoder) -> dict[Layout, str]:
    """The layouts that an encoder takes, and what it calls them."""
    av = pyav()
    try:
        formats = av.Codec(encoder.name, "w").video_formats or ()
    except ValueError as error:
        raise VideoError(f"This PyAV has no encoder {encoder.name}. Choose another codec, or: pip install --upgrade av") from error
    offered: dict[Layout, str] = {}
    for one in formats:
        if one.is_big_endian or one.name.startswith("yuvj") or not one.components:
            continue
        try:
            layout = planar(av.VideoFormat(one.name))
        except VideoError:
            continue
        if parse(one.name) is not None or layout not in offered:
            offered[layout] = one.name
    return offered


def _colour_for(layout: Layout, colour: Colour) -> Colour:
    """What the numbers of a target are to mean, where they cannot mean the same as those of the source."""
    if layout.family == "rgb":
        return Colour(RGB, True, colour.primaries, colour.transfer)
    if colour.matrix == RGB:
        return Colour(BT709, layout.family == "grey", colour.primaries, colour.transfer)
    return colour


def _padded(image: Tensor, width: int, height: int) -> Tensor:
    """Repeats the last row and the last column up to a size."""
    more = height - image.shape[0], width - image.shape[1]
    image = torch.cat((image, image[-1:].expand(more[0], -1, -1)), 0) if more[0] else image
    return torch.cat((image, image[:, -1:].expand(-1, more[1], -1)), 1) if more[1] else image


def _kept(metadata: dict[str, str], *stale: str) -> dict[str, str]:
    return {key: text for key, text in metadata.items() if not key.upper().startswith((*_STALE, *stale))}


def _copy_chapters(reader: VideoReader, container: Any) -> None:
    """Chapters of the window. PyAV knows of chapters since version 15 or so; without, they are left out."""
    if not hasattr(container, "set_chapters"):
        return
    chapters: list[dict[str, Any]] = []
    for chapter in reader.container.chapters():
        base = Fraction(chapter["time_base"])
        start, end = (chapter[side] - round(reader.origin / base) for side in ("start", "end"))
        last = end if reader.length is None else min(end, round(reader.length / base))
        if last > max(0, start):
            chapters.append({**chapter, "start": max(0, start), "end": last})
    if chapters:
        container.set_chapters(chapters)
