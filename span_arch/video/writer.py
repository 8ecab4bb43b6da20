"""A video file that is being written: its frames are encoded, and packets of other streams pass as they are."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import OptionError, VideoError
from ._av import pyav, reason
from .codecs import Encoder, VideoSettings, container_format, encoders, options
from .colour import BT709, RGB, Colour
from .frames import frame_of
from .muxer import Muxer
from .pixel_formats import Layout, closest, parse, planar
from .reader import Frame, Picture, VideoReader


class VideoWriter(Muxer):
    """Writes what a `VideoReader` reads. The file is begun with the first frame, which tells its size.

    Args:
        path: of the file; its suffix tells the container.
        reader: what it is made of.
        settings: how.
        alone: whether there is to be nothing but the frames.

    Raises:
        OptionError: the settings contradict each other or the suffix.
    """

    def __init__(self, path: Path, reader: VideoReader, settings: VideoSettings, *, alone: bool = False) -> None:
        super().__init__(path, reader, alone=alone)
        self._settings = settings
        self._candidates = encoders(path, settings)
        self._stream: Any = None
        self._durations: dict[int, int] = {}
        self.encoder = ""
        """What FFmpeg calls the encoder; known once the first frame is there."""
        self.frames = 0
        """How many were taken."""

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

    def _encode(self, frame: Any) -> None:
        try:
            packets = self._stream.encode(frame)
        except pyav().error.FFmpegError as error:
            raise VideoError(f"The encoder {self.encoder} failed ({reason(error)}). Try another codec.") from error
        with self._lock:
            for packet in packets:
                packet.duration = self._durations.pop(packet.pts, packet.duration)
                if frame is None and self.frames == 1:
                    packet.dts = packet.pts  # of a single frame, x265 tells what happens to be in memory
                self._container.mux(packet)

    def _begin(self, width: int, height: int) -> None:
        picture = self._reader.picture
        assert picture is not None
        self._asked = (width, height)
        encoder = next(one for one in self._candidates if one is self._candidates[-1] or self._opens(one, picture))
        self._choose(encoder, picture)
        container = self._open()
        try:
            self._add_streams(container, lambda source: self._add_video(container, source, encoder, picture))
            self._tell_losses(picture)
            container.start_encoding()
        except pyav().error.FFmpegError as error:
            raise VideoError(
                f"The encoder {encoder.name} does not take frames of {self._size[0]}x{self._size[1]} pixels in {self._pixel_format} with "
                f"these settings ({reason(error)}). Try another codec, quality or preset."
            ) from error
        self._begun(container)

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

    def _add_video(self, container: Any, source: Any, encoder: Encoder, picture: Picture) -> Any:
        self._stream = stream = container.add_stream(encoder.name, rate=self._reader.rate, options=self._options(encoder))
        self._configure(stream.codec_context, encoder)
        stream.time_base = self._reader.time_base
        ratio = Fraction(source.sample_aspect_ratio or 1)
        stream.codec_context.sample_aspect_ratio = 1 / ratio if picture.turns % 2 else ratio
        return stream

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
        if self._layout.depth < picture.layout.depth and self._settings.pixel_format is None:
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
