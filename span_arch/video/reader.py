"""The frames of a video, and beside them, untouched, the packets of its other streams."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from ..errors import OptionError, VideoError
from ._av import pyav, reason
from .colour import Colour
from .frames import colour_of, image_of, layout_of
from .pixel_formats import Layout
from .source import decoder_of, is_cover, no_frames, promised_end, rate_of, seconds, video_stream

_MISSING = Fraction(1, 4)
"""Seconds that may be missing at the end of a file before it counts as broken off: headers are not always exact."""
_HDR = ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL")


@dataclass(frozen=True)
class Frame:
    """A frame and its time."""

    image: Tensor
    """(H, W, C), float32: RGB or RGBA, turned as it is to be displayed."""
    pts: int
    """When it appears, in units of the time base of the video, counted from the start of the window."""
    duration: int
    """How long it stays, in the same units; 0 if that is not known."""


@dataclass(frozen=True)
class Picture:
    """What the frames of a video have in common, as its first one tells."""

    layout: Layout
    colour: Colour
    size: tuple[int, int]
    """Width and height of what is coded, in pixels."""
    turns: int
    """Quarters of a turn anticlockwise from there to what is displayed."""


class VideoReader:
    """Reads what begins in a window of time.

    Args:
        container: of PyAV, open for reading.
        name: what messages call it.
        start: seconds from the start of the video; from its end if negative.
        duration: of the window, in seconds; 0 is up to the end.

    Raises:
        OptionError: the window begins behind the end, or its duration is negative.
        VideoError: there is no video stream, or no decoder for it.
    """

    def __init__(self, container: Any, name: str, *, start: float = 0, duration: float = 0) -> None:
        self.container, self.name = container, name
        self.stream = video_stream(container, name)
        self.lock = Lock()
        """Held while the container is asked for a packet; whoever looks at its streams from another thread holds it."""
        self.picture: Picture | None = None
        """Known once the first frame is."""
        self.time_base: Fraction = self.stream.time_base
        self.rate = rate_of(self.stream)
        self.broken = 0
        """How many packets of the window could not be decoded."""
        self.warnings: list[str] = []
        self.origin, self.length = _window(container, self.stream, name, start, duration)
        """The second that is to become 0, and how many follow; None is all that there are."""
        self.shift = round(self.origin / self.time_base)
        """The time stamp in the source that is to become 0."""
        self._seek = start != 0
        self._wanted = [stream for stream in container.streams if stream.type in ("video", "audio", "subtitle") and not is_cover(stream)]
        self._decoder = decoder_of(self.stream)
        self._durations: dict[int, int] = {}
        self._last: int | None = None
        self._outside = False
        self._end: Fraction | None = None
        self._gap = Fraction(0)
        self._trouble = ""
        self._error: Exception | None = None

    @property
    def expected(self) -> int:
        """About how many frames there are; 0 if nobody knows."""
        if self.length is None and self.stream.frames and not self._seek:
            return self.stream.frames
        whole = seconds(self.container, self.stream) - max(Fraction(0), self.origin - _begin(self.container))
        known = whole if self.length is None else min(self.length, whole) if whole > 0 else self.length
        return max(0, round(known * self.rate))

    def __iter__(self) -> Iterator[Any]:
        """Each `Frame` of the window in the order of time; and the packets of other streams, with their times in the window.

        A frame that cannot be decoded is left out and counted as broken.

        Raises:
            VideoError: frames change their size, there is none, or the file breaks off; then after all that are there.
        """
        for packet in self.packets():
            if packet.stream is self.stream:
                if packet.size:
                    yield from self._decoded(packet)
            elif self._fits(packet):
                yield packet
        yield from self._decoded(None)
        self._check_end()

    def others(self) -> Iterator[Any]:
        """The packets of other streams alone, as they come with the frames; nothing is decoded.

        Raises:
            VideoError: the file cannot be read to its end.
        """
        yield from (packet for packet in self.packets() if packet.stream is not self.stream and self._fits(packet))
        self._check_read()

    def packets(self) -> Iterator[Any]:
        """All packets, as they are in the source, from the last key frame before the window to the end of what is in it."""
        self._search()
        yield from self._demuxed()

    def _demuxed(self) -> Iterator[Any]:
        """All packets from where the container is to the end of what is in the window."""
        open_ended = {stream.index for stream in self._wanted if stream.type != "subtitle"}
        packets = self.container.demux(self._wanted)
        while open_ended:
            try:
                with self.lock:
                    packet = next(packets, None)
            except pyav().error.FFmpegError as error:
                self._trouble = f" ({reason(error)})"
                return
            if packet is None:
                return
            self._note(packet)
            if packet.dts is not None and self._is_behind(packet):
                open_ended.discard(packet.stream.index)
            else:
                yield packet

    def _note(self, packet: Any) -> None:
        """Notes how far the file has been read."""
        if packet.dts is None:
            return
        if self._end is not None and packet.stream is self.stream:
            self._gap = max(self._gap, packet.dts * packet.time_base - self._end)
        end = ((packet.dts if packet.pts is None else packet.pts) + (packet.duration or 0)) * packet.time_base
        self._end = end if self._end is None else max(self._end, end)

    def check_whole(self) -> None:
        """To be asked when all packets have been read.

        Raises:
            VideoError: the file is shorter than it says itself, and the window with it; or it could not be read to its end.
        """
        promised = promised_end(self.container, self.stream)
        if self.length is not None:
            promised = min(promised, self.origin + self.length)
        end = self._end or Fraction(0)
        if self._trouble or promised - end > max(_MISSING, 2 * self._gap):
            lasts = f" of {float(promised):.1f} s that it should last" if promised > end else ""
            raise VideoError(f"{self.name} breaks off after {float(end):.1f} s{lasts}{self._trouble}. Copy or download it again.")

    def _check_read(self) -> None:
        """Raises the error of a part of the file that could not be read; whether the file is whole is for others to ask."""
        if self._trouble:
            self.check_whole()

    def _search(self) -> None:
        """Goes to the last key frame before the window; to the start if that is not found, as in MPEG-TS, which has no index."""
        if not self._seek:
            return
        av = pyav()
        for time in (self.origin, Fraction(0)):
            try:
                self.container.seek(int(time * av.time_base), backward=True)
                first = next(self.container.demux(self.stream))
                if first.is_keyframe and first.pts is not None and first.pts * self.time_base <= self.origin:
                    self.container.seek(int(time * av.time_base), backward=True)
                    return
            except av.error.FFmpegError:  # what is wrong is said when all of it is read
                continue
        self._seek_to(0, None)

    def _seek_to(self, time: int, stream: Any) -> None:
        try:
            self.container.seek(time, stream=stream, backward=True)
        except pyav().error.FFmpegError:  # a container that cannot seek is read from where it is
            self.warnings.append(f"{self.name} cannot be searched; it was read from its start.")

    def _is_behind(self, packet: Any) -> bool:
        """Whether no packet that comes after this one in its stream is in the window."""
        return self.length is not None and packet.dts * packet.time_base >= self.origin + self.length

    def _is_inside(self, pts: int) -> bool:
        """Whether a frame of this time, counted from the start of the window, is in it."""
        return (pts >= 0 or not self._seek) and (self.length is None or pts * self.time_base < self.length)

    def _fits(self, packet: Any) -> bool:
        return bool(packet.size) and _fit(packet, self.origin, self.length)

    def _check_end(self) -> None:
        if self.picture is None and self._error is None and self._outside:
            raise VideoError(f"No frame of {self.name} begins in the window from {float(self.origin):.3f} s on. Choose a longer one.")
        if self.picture is None:
            raise no_frames(self.name, self._error)
        self.check_whole()

    def _decoded(self, packet: Any) -> Iterator[Frame]:
        if packet is not None and packet.pts is not None and packet.duration:
            self._durations[packet.pts] = packet.duration
        try:
            frames = self._decoder.decode(packet)
        except pyav().error.FFmpegError as error:
            if packet is not None and (packet.pts is None or self._is_inside(packet.pts - self.shift)):
                self.broken, self._error = self.broken + 1, error
            return
        for frame in frames:
            stamp = frame.pts if frame.pts is not None else frame.dts
            duration = self._durations.pop(stamp, 0)
            if (pts := self._time(stamp)) is None:
                self._outside = True
            else:
                yield Frame(self._image(frame), pts, duration)

    def _time(self, stamp: int | None) -> int | None:
        """The time of a frame in the window; None if it is outside. Where there is none, or it goes back, the next in the frame rate."""
        pts = None if stamp is None else stamp - self.shift
        if pts is None or (self._last is not None and pts <= self._last):
            step = max(1, round(1 / (self.rate * self.time_base)))
            pts = 0 if self._last is None else self._last + step
        if not self._is_inside(pts):
            return None
        self._last = pts
        return pts

    def _image(self, frame: Any) -> Tensor:
        layout, size = layout_of(frame), (frame.width, frame.height)
        colour = colour_of(frame, layout, self._decoder)
        if self.picture is None:
            self.picture = Picture(layout, colour, size, round(frame.rotation / 90) % 4)
            if frame.interlaced_frame:
                self.warnings.append(f"{self.name} is interlaced, and its frames were taken as they are. Deinterlace it first.")
            if any(one.type.name in _HDR for one in frame.side_data):
                self.warnings.append("What it says of the display that it was mastered on (HDR10) was left out; its colours are the same.")
        elif size != self.picture.size:
            width, height = self.picture.size
            raise VideoError(
                f"The frames of {self.name} change their size from {width}x{height} to {size[0]}x{size[1]}; a file has one size only. "
                "Split it there, or bring it to one size first."
            )
        image = image_of(frame, layout, colour)
        return torch.rot90(image, self.picture.turns, (0, 1)).contiguous() if self.picture.turns else image


def _begin(container: Any) -> Fraction:
    """The second at which a container begins; those with negative times begin at 0, and their players skip what is before."""
    return max(Fraction(0), Fraction(container.start_time or 0, pyav().time_base))


def _window(container: Any, stream: Any, name: str, start: float, duration: float) -> tuple[Fraction, Fraction | None]:
    whole = seconds(container, stream)
    if duration < 0:
        raise OptionError(f"The duration is {duration:g} seconds; expected a positive one, or 0 for all up to the end.")
    if whole and start >= whole:
        raise OptionError(f"{name} lasts {float(whole):.3f} seconds, and the start is at {start:g}; expected one before its end.")
    first = max(Fraction(0), whole + _exact(start)) if start < 0 else _exact(start)
    return _begin(container) + first, _exact(duration) if duration else None


def _exact(time: float) -> Fraction:
    """Seconds to the microsecond, so that 0.2 is a fifth."""
    return Fraction(round(time * 1_000_000), 1_000_000)


def _fit(packet: Any, origin: Fraction, length: Fraction | None) -> bool:
    """Counts the times of a packet from the start of the window, and says whether it is inside.

    Subtitles that began before and are still there begin with the window.
    """
    if packet.pts is None:
        return False
    shift, base = round(origin / packet.time_base), packet.time_base
    end = None if length is None else ceil(length / base)
    pts, duration = packet.pts - shift, packet.duration or 0
    if packet.stream.type == "subtitle" and pts < 0 < pts + duration and origin:
        pts, duration = 0, pts + duration
    if (pts < 0 and shift > 0) or (end is not None and pts >= end):
        return False
    if packet.stream.type == "subtitle" and end is not None and duration:
        duration = min(duration, end - pts)
    packet.dts = pts if packet.stream.type == "subtitle" or packet.dts is None else packet.dts - shift
    packet.pts, packet.duration = pts, duration
    return True
