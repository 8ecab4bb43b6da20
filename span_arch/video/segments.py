"""A video in segments, each of which can be upscaled by itself: in any order, and on any machine.

    segments = plan_segments("film.mkv")
    for segment in segments:
        write_segment(model, "film.mkv", segment, Path(f"{segment.index}.mp4"))
    join_segments("film.mkv", [Path(f"{segment.index}.mp4") for segment in segments], Path("large.mp4"))

A segment can be pickled, and so can its reports.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import dropwhile, pairwise
from pathlib import Path
from typing import Any

from typing_extensions import override

from .._util.files import replacing
from ..engine.context import Context
from ..engine.report import Report
from ..engine.settings import Settings
from ..errors import OptionError
from ..models.build import Model
from .codecs import VideoSettings, encoders
from .one_pass import upscaling
from .reader import VideoReader
from .source import Source, name_of, opened
from .transcode import VideoReport, run
from .writer import VideoWriter

FRAMES = 250
"""How many frames a segment has unless others are asked for: ten seconds or so, before which an encoder would begin anew anyway."""


@dataclass(frozen=True)
class Segment:
    """The frames of a video from one time to another. Times are in units of the time base of the video."""

    index: int
    """Its place among the segments, from 0."""
    start: float
    """Of the window that it is in, as in `copy_video`."""
    duration: float
    """The same."""
    first: int | None
    """The time of its first frame, counted from the start of the window; None: all from there are in it."""
    end: int | None
    """The time of the first frame of the next one; None: all up to the end are in it."""
    frames: int
    """How many frames there are, as the packets tell; 0 if they do not."""
    key: int | None
    """The time stamp in the source of the key frame that decoding begins with; None: where that of the window begins."""
    seek: int
    """When that key frame is decoded, which is where to look for it."""


class SegmentReader(VideoReader):
    """Reads the frames of a segment, with their times in the window, and nothing else.

    Args:
        container: as for `VideoReader`.
        name: as for `VideoReader`.
        segment: of this video.
    """

    def __init__(self, container: Any, name: str, segment: Segment) -> None:
        super().__init__(container, name, start=segment.start, duration=segment.duration)
        self._segment = segment
        self._wanted = [self.stream]

    @override
    def packets(self) -> Iterator[Any]:
        """All packets of the video from the key frame on."""
        if self._segment.key is None:
            yield from super().packets()
            return
        first, rest = self._from_key(super().packets())
        if first is None:  # some containers search by another clock
            self._seek_to(0, None)
            first, rest = self._from_key(self._demuxed())
        if first is not None:
            yield first
            yield from rest

    def _from_key(self, packets: Iterator[Any]) -> tuple[Any, Iterator[Any]]:
        rest = dropwhile(lambda packet: packet.pts != self._segment.key, packets)
        return next(rest, None), rest

    def clock(self) -> tuple[list[int], list[tuple[int, int]]]:
        """The times of all frames in their order; and of all key frames the time stamps, and when they are decoded.

        There are no times if those of some frames are not told, or are not all different.

        Raises:
            VideoError: the file breaks off.
        """
        times, keys = list[int](), list[tuple[int, int]]()
        for packet in self.packets():
            if packet.size and packet.pts is None:
                return [], []
            if packet.size and packet.is_keyframe:
                keys.append((packet.pts, packet.pts if packet.dts is None else packet.dts))
            if packet.size and not packet.is_discard and self._is_inside(packet.pts - self.shift):
                times.append(packet.pts - self.shift)
        self.check_whole()
        return (sorted(times), sorted(keys)) if len(set(times)) == len(times) else ([], [])

    @override
    def _search(self) -> None:
        if self._segment.key is None:
            super()._search()
        else:
            self._seek_to(self._segment.seek, self.stream)

    @override
    def _is_behind(self, packet: Any) -> bool:
        end = self._segment.end
        return super()._is_behind(packet) or (end is not None and packet.dts - self.shift >= end)

    @override
    def _is_inside(self, pts: int) -> bool:
        first, end = self._segment.first, self._segment.end
        return super()._is_inside(pts) and (first is None or pts >= first) and (end is None or pts < end)

    @override
    def _check_end(self) -> None:
        """Whether there is any frame is for those to ask who know of all segments."""
        self._check_read()


def plan_segments(source: Source, frames: int = FRAMES, *, start: float = 0, duration: float = 0) -> list[Segment]:
    """Divides a video into segments. Its packets are looked at, and nothing is decoded.

    The same source, number and window give the same segments. A video that does not tell the time of each frame is one segment.

    Args:
        source: as in `copy_video`.
        frames: how many a segment has; the last one has what is left.
        start: as in `copy_video`.
        duration: as in `copy_video`.

    Raises:
        MissingExtraError: PyAV is not installed.
        VideoError: the source cannot be read, or breaks off.
        OptionError: the number is below 1, or the window is outside of the source.
    """
    if frames < 1:
        raise OptionError(f"Segments of {frames} frames were asked for; expected at least 1.")
    whole = Segment(0, start, duration, None, None, 0, None, 0)
    with opened(source) as container:
        reader = SegmentReader(container, name_of(source), whole)
        times, keys = reader.clock()
    if not times:
        return [whole]
    firsts = [None, *(times[cut] for cut in range(frames, len(times), frames)), None]
    segments: list[Segment] = []
    for index, (first, end) in enumerate(pairwise(firsts)):
        key, seek = (None, 0) if first is None else _key_before(keys, first + reader.shift)
        segments.append(Segment(index, start, duration, first, end, min(frames, len(times) - index * frames), key, seek))
    return segments


def _key_before(keys: list[tuple[int, int]], stamp: int) -> tuple[int | None, int]:
    """The key frame to begin with for all frames from this one on.

    It is the last but one: from a key frame that is none but by a promise to recover (as where H.264 refreshes its pictures bit by bit),
    decoders give frames only after a while.
    """
    before = bisect_right(keys, stamp, key=lambda key: key[0])
    return keys[before - 2] if before >= 2 else (None, 0)


def write_segment(
    model: Model,
    source: Source,
    segment: Segment,
    path: Path,
    settings: Settings | None = None,
    video: VideoSettings | None = None,
    context: Context | None = None,
    *,
    overwrite: bool = False,
    count: int | None = None,
) -> tuple[Report | None, VideoReport]:
    """Upscales a segment to a file of its own: the frames alone, with their times in the whole.

    The file is there once it is whole and on the disk. It begins with a key frame, and plays.

    Args:
        model: as in `upscale_frames`.
        source: as in `copy_video`.
        segment: one of those that `plan_segments` gives for this source.
        path: of the file, with the suffix that the whole is to have.
        settings: what is asked of the upscale; the same for all segments.
        video: how the result is written; the same for all segments.
        context: as in `upscale_frames`. If its progress listener raises an exception, the run ends and leaves no file.
        overwrite: whether a file that is there may be replaced.
        count: how many frames there are, for progress; by default as the segment says.

    Returns:
        What the upscale was like, and what became of the frames. If none can be decoded, there is nothing to tell of the upscale, and the
        file is empty.

    Raises:
        SpanArchError: as `upscale_frames` and `copy_video`, but that nothing is left beside.
    """
    path, video = Path(path), video or VideoSettings()
    encoders(path, video)
    reports: list[Report] = []
    transform = upscaling(model, settings, context or Context(), count or segment.frames or None, reports.append)
    with opened(source) as container, replacing(path, overwrite=overwrite, durable=True) as temporary:
        reader = SegmentReader(container, name_of(source), segment)
        writer = VideoWriter(temporary, reader, video, alone=True)
        try:
            run(reader, writer, transform)
            writer.close()
        finally:
            writer.abandon()
    told = VideoReport(writer.frames, reader.broken, writer.encoder, (*reader.warnings, *writer.warnings))
    return (reports[0] if reports else None), told
