"""The packets of a video file."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import dropwhile
from threading import Lock

from .._util.text import first_line
from ..errors import VideoError
from ._av import Packet, av
from .source import duration_of, frame_rate_of, is_cover, promised_end, time_base_of, video_stream
from .video_report import Note
from .window import Segment, TimedPacket, Window, begin_of

_TOLERANCE = Fraction(1, 4)
"""Seconds that may be missing at the end of a complete file, because headers are not always exact."""


class Demuxer:
    """A reader of the packets of a window of a video, or of a segment of that window.

    Raises:
        SpanArchError: as `Window.of` and `video_stream`.
    """

    def __init__(
        self, container: av.container.InputContainer, name: str, *, start: float = 0, duration: float = 0, segment: Segment | None = None
    ) -> None:
        self.container, self.name, self.segment = container, name, segment
        self.stream = video_stream(container, name)
        self.window = Window.of(container, self.stream, name, start, duration, segment)
        self.time_base, self.rate = time_base_of(self.stream), frame_rate_of(self.stream)
        self.lock = Lock()
        """Held while a packet is read. Hold it to look at the container's streams from another thread."""
        self.notes: list[Note] = []
        streams = [stream for stream in container.streams if stream.type in ("video", "audio", "subtitle") and not is_cover(stream)]
        self._streams: list[av.stream.Stream] = streams if segment is None else [self.stream]
        self._begins_late = start != 0
        self._read_to: Fraction | None = None
        self._gap = Fraction(0)
        self._failure = ""

    @property
    def expected_frames(self) -> int:
        """An estimate of the number of frames; 0 if it is unknown."""
        length = self.window.length
        if length is None and self.stream.frames and not self._begins_late:
            return self.stream.frames
        whole = duration_of(self.container, self.stream) - max(Fraction(0), self.window.origin - begin_of(self.container))
        known = whole if length is None else min(length, whole) if whole > 0 else length
        return max(0, round(known * self.rate))

    def packets(self) -> Iterator[Packet]:
        """Yield all packets with their times in the source, from the last key frame before the window to the window's end."""
        segment = self.segment
        if segment is None or segment.key is None:
            self._seek_window()
            yield from self._demux()
            return
        for position, stream in ((segment.seek, self.stream), (0, None)):  # some containers are searched by another clock
            self._seek(position, stream)
            packets = dropwhile(lambda packet: packet.pts != segment.key, self._demux())
            if (first := next(packets, None)) is not None:
                yield first
                yield from packets
                return

    def other_packets(self) -> Iterator[TimedPacket]:
        """Yield the packets of the other streams in the window. Raise VideoError if the file cannot be read to its end."""
        for packet in self.packets():
            if packet.stream is not self.stream and (placed := self.window.placed(packet)) is not None:
                yield placed
        self.check_read()

    def frame_times(self) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the sorted times of all frames in the window, and (time stamp, decoding time) of all key frames.

        Both are empty if some frames have no time, or share one. Raise VideoError if the file breaks off.
        """
        times, keys = list[int](), list[tuple[int, int]]()
        for packet in self.packets():
            if packet.stream is not self.stream or not packet.size:
                continue
            if packet.pts is None:
                return [], []
            if packet.is_keyframe:
                keys.append((packet.pts, packet.pts if packet.dts is None else packet.dts))
            if not packet.is_discard and self.window.holds(packet.pts - self.window.shift):
                times.append(packet.pts - self.window.shift)
        self.check_whole()
        return (sorted(times), sorted(keys)) if len(set(times)) == len(times) else ([], [])

    def check_whole(self) -> None:
        """Raise VideoError, after the last packet, if the file is shorter than its header says or could not be read to its end."""
        promised = promised_end(self.container, self.stream)
        if self.window.over is not None:
            promised = min(promised, self.window.over)
        end = self._read_to or Fraction(0)
        if self._failure or promised - end > max(_TOLERANCE, 2 * self._gap):
            length = f" of {float(promised):.1f} s" if promised > end else ""
            raise VideoError(f"{self.name} breaks off after {float(end):.1f} s{length}{self._failure}. Copy or download it again.")

    def check_read(self) -> None:
        """Raise VideoError, after the last packet, if the file could not be read to its end."""
        if self._failure:
            self.check_whole()

    def _demux(self) -> Iterator[Packet]:
        """Yield all packets from the container's position to the end of the window."""
        open_ended = {stream.index for stream in self._streams if stream.type != "subtitle"}
        packets = self.container.demux(self._streams)
        while open_ended:
            try:
                with self.lock:
                    packet = next(packets, None)
            except av.error.FFmpegError as error:
                self._failure = f" ({first_line(error)})"
                return
            if packet is None:
                return
            self._measure(packet)
            if self.window.is_over(packet):
                open_ended.discard(packet.stream.index)
            else:
                yield packet

    def _measure(self, packet: Packet) -> None:
        """Record how far the file has been read, and the longest gap between frames."""
        if packet.dts is None:
            return
        if self._read_to is not None and packet.stream is self.stream:
            self._gap = max(self._gap, packet.dts * packet.time_base - self._read_to)
        end = ((packet.dts if packet.pts is None else packet.pts) + (packet.duration or 0)) * packet.time_base
        self._read_to = end if self._read_to is None else max(self._read_to, end)

    def _seek_window(self) -> None:
        """Go to the last key frame before the window, or to the start if it is not found, as in MPEG-TS, which has no index."""
        if not self._begins_late:
            return
        for second in (self.window.origin, Fraction(0)):
            position = int(second * av.time_base)
            try:
                self.container.seek(position, backward=True)
                first = next(self.container.demux(self.stream))
                if first.is_keyframe and first.pts is not None and first.pts * self.time_base <= self.window.origin:
                    self.container.seek(position, backward=True)
                    return
            except av.error.FFmpegError:  # reading raises it again
                continue
        self._seek(0, None)

    def _seek(self, position: int, stream: av.VideoStream | None) -> None:
        try:
            self.container.seek(position, stream=stream, backward=True)
        except av.error.FFmpegError:  # a container that is not seekable is read from where it is
            self.notes.append(Note("not seekable"))
