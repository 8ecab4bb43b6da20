"""Parts of a video in time: windows that users choose, and segments of them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from ..errors import OptionError
from ._av import Packet, av
from .source import duration_of, time_base_of


@dataclass(frozen=True)
class Segment:
    """The frames of a video from one time to another. Times are in units of the video's time base."""

    index: int
    """Its place among the segments, from 0."""
    start: float
    """The start of the window that it belongs to, as in `copy_video`."""
    duration: float
    """The duration of that window."""
    first: int | None
    """The time of its first frame, counted from the start of the window; None: the window's first frame."""
    end: int | None
    """The time of the next segment's first frame; None: this is the last segment."""
    frames: int
    """The number of its packets, and so of its frames; 0 if that is unknown."""
    key: int | None
    """The time stamp in the source of the key frame to decode from; None: the window's own."""
    seek: int
    """The decoding time of that key frame, which containers are searched by."""


@dataclass(frozen=True)
class TimedPacket:
    """A packet, and the times to write it with, in units of its own time base."""

    packet: Packet
    pts: int
    dts: int
    duration: int


@dataclass(frozen=True)
class Window:
    """A part of a video, and the clock that counts from its start."""

    origin: Fraction
    """The second of the source that becomes 0."""
    length: Fraction | None
    """In seconds; None: to the end."""
    over: Fraction | None
    """The second of the source at which it ends; None: with the source."""
    shift: int
    """The origin as a time stamp of the video."""
    first: int | None
    """The earliest time of a frame, in units of the video's time base from the origin; None: frames before the origin count as well."""
    end: int | None
    """The time before which all frames begin; None: to the end."""

    @classmethod
    def of(
        cls,
        container: av.container.InputContainer,
        stream: av.VideoStream,
        name: str,
        start: float,
        duration: float,
        segment: Segment | None = None,
    ) -> Window:
        """Return the window from ``start`` (negative: from the end) for ``duration`` seconds (0: to the end), or a segment of it.

        Raises:
            OptionError: the window begins after the end of the video, or its duration is negative.
        """
        whole, base = duration_of(container, stream), time_base_of(stream)
        if duration < 0:
            raise OptionError(f"The duration is {duration:g} seconds. Expected a positive one, or 0 for everything up to the end.")
        if whole and start >= whole:
            raise OptionError(f"The start is at {start:g} s, but {name} only lasts {float(whole):.3f} s. Choose an earlier start.")
        origin = begin_of(container) + (max(Fraction(0), whole + _exact(start)) if start < 0 else _exact(start))
        length, shift = _exact(duration) if duration else None, round(origin / base)
        first, over, end = 0 if start else None, None, None
        if length is not None:
            over, end = origin + length, ceil(length / base)
        if segment is not None and segment.first is not None:
            first = segment.first
        if segment is not None and segment.end is not None:
            over, end = (shift + segment.end) * base, segment.end
        return cls(origin, length, over, shift, first, end)

    def holds(self, time: int) -> bool:
        """Return whether a frame with this time, counted from the origin, is in the window."""
        return (self.first is None or time >= self.first) and (self.end is None or time < self.end)

    def is_over(self, packet: Packet) -> bool:
        """Return whether all later packets of the same stream are behind the window."""
        return self.over is not None and packet.dts is not None and packet.dts * packet.time_base >= self.over

    def placed(self, packet: Packet) -> TimedPacket | None:
        """Return a packet of another stream with its times in the window; None if it is not in the window.

        A subtitle that is already on display when the window begins starts with the window.
        """
        if not packet.size or packet.pts is None:
            return None
        is_subtitle, base = packet.stream.type == "subtitle", packet.time_base
        shift, end = round(self.origin / base), None if self.length is None else ceil(self.length / base)
        pts, duration = packet.pts - shift, packet.duration or 0
        if is_subtitle and self.origin and pts < 0 < pts + duration:
            pts, duration = 0, pts + duration
        if (pts < 0 and shift > 0) or (end is not None and pts >= end):
            return None
        if is_subtitle and end is not None:
            duration = min(duration, end - pts)
        return TimedPacket(packet, pts, pts if is_subtitle or packet.dts is None else packet.dts - shift, duration)


def begin_of(container: av.container.InputContainer) -> Fraction:
    """Return the second at which a container begins. Players skip what comes before 0."""
    return max(Fraction(0), Fraction(container.start_time or 0, av.time_base))


def _exact(time: float) -> Fraction:
    """Round seconds to the microsecond, so that 0.2 is a fifth."""
    return Fraction(round(time * 1_000_000), 1_000_000)
