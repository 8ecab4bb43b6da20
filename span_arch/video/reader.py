"""The frames of a video, and the packets of its other streams."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from ..errors import VideoError
from ._av import Packet, av
from .colour import Colour
from .demuxer import Demuxer
from .frames import colour_of, image_of, layout_of
from .pixel_formats import Layout
from .source import decoder_of, no_frames
from .video_report import Note
from .window import TimedPacket

_HDR10 = ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL")


@dataclass(frozen=True)
class VideoFrame:
    """A frame and its time."""

    image: Tensor
    """(H, W, C), float32, RGB or RGBA, rotated for display."""
    pts: int
    """When it appears, in units of the video's time base, counted from the start of the window."""
    duration: int
    """How long it stays, in the same units; 0 if that is unknown."""


@dataclass(frozen=True)
class FrameFormat:
    """The properties that all frames of a video share."""

    layout: Layout
    colour: Colour
    size: tuple[int, int]
    """Width and height as coded, in pixels."""
    turns: int
    """Quarter turns anticlockwise from the coded to the displayed frame."""
    pixel_ratio: Fraction
    """Width of a pixel divided by its height, as displayed."""
    time_base: Fraction
    rate: Fraction
    """Average frames per second."""


class VideoReader:
    """A reader of the frames of a demuxer's window, and the packets of the other streams in it."""

    def __init__(self, demuxer: Demuxer) -> None:
        self.demuxer = demuxer
        self.format: FrameFormat | None = None
        """The properties of the first frame; None until it is read."""
        self.broken = 0
        """Packets of the window that could not be decoded."""
        self.notes: list[Note] = []
        self._decoder = decoder_of(demuxer.stream)
        self._durations: dict[int, int] = {}
        self._last: int | None = None
        self._has_frames_outside = False
        self._error: Exception | None = None

    def __iter__(self) -> Iterator[VideoFrame | TimedPacket]:
        """Yield the frames in the order of their times, and the packets of the other streams.

        A frame that cannot be decoded is left out and counted as broken.

        Raises:
            VideoError: the frames change their size, there is none, or the file breaks off. The last comes after all frames that exist.
        """
        for packet in self.demuxer.packets():
            if packet.stream is self.demuxer.stream:
                if packet.size:
                    yield from self._decode(packet)
            elif (placed := self.demuxer.window.placed(packet)) is not None:
                yield placed
        yield from self._decode(None)
        self._check_end()

    def _check_end(self) -> None:
        demuxer = self.demuxer
        if demuxer.segment is not None:  # only the whole video has to have a frame, and the length in its header
            return demuxer.check_read()
        if self.format is None and self._error is None and self._has_frames_outside:
            origin = float(demuxer.window.origin)
            raise VideoError(f"{demuxer.name} has no frame that begins in the window from {origin:.3f} s on. Choose a longer window.")
        if self.format is None:
            raise no_frames(demuxer.name, self._error)
        return demuxer.check_whole()

    def _decode(self, packet: Packet | None) -> Iterator[VideoFrame]:
        shift, holds = self.demuxer.window.shift, self.demuxer.window.holds
        if packet is not None and packet.pts is not None and packet.duration:
            self._durations[packet.pts] = packet.duration
        try:
            frames = self._decoder.decode(packet)
        except av.error.FFmpegError as error:
            if packet is not None and (packet.pts is None or holds(packet.pts - shift)):
                self.broken, self._error = self.broken + 1, error
            return
        for frame in frames:
            stamp = frame.pts if frame.pts is not None else frame.dts
            duration = 0 if stamp is None else self._durations.pop(stamp, 0)
            pts = self._time_after(self._last, None if stamp is None else stamp - shift)
            if holds(pts):
                self._last = pts
                yield VideoFrame(self._image(frame), pts, duration)
            else:
                self._has_frames_outside = True

    def _time_after(self, last: int | None, time: int | None) -> int:
        """Return the time of a frame. A missing or backward one is replaced by the next in the frame rate."""
        if time is not None and (last is None or time > last):
            return time
        return 0 if last is None else last + max(1, round(1 / (self.demuxer.rate * self.demuxer.time_base)))

    def _image(self, frame: av.VideoFrame) -> Tensor:
        layout, size = layout_of(frame), (frame.width, frame.height)
        colour = colour_of(frame, layout, self._decoder)
        if self.format is None:
            turns, ratio = round(frame.rotation / 90) % 4, Fraction(self.demuxer.stream.sample_aspect_ratio or 1)
            ratio = 1 / ratio if turns % 2 else ratio
            self.format = FrameFormat(layout, colour, size, turns, ratio, self.demuxer.time_base, self.demuxer.rate)
            if frame.interlaced_frame:
                self.notes.append(Note("interlaced"))
            if any(frame.side_data.get(kind) is not None for kind in _HDR10):
                self.notes.append(Note("no HDR10 metadata"))
        elif size != self.format.size:
            (width, height), name = self.format.size, self.demuxer.name
            raise VideoError(
                f"{name} changes its frame size from {width}x{height} to {size[0]}x{size[1]}. A file has one size only. Split the video "
                "there, or bring it to one size first."
            )
        image = image_of(frame, layout, colour)
        return torch.rot90(image, self.format.turns, (0, 1)).contiguous() if self.format.turns else image
