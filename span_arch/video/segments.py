"""Segments of a video, which can be upscaled independently: in any order, and on any machine.

    segments = plan_segments("film.mkv")
    for segment in segments:
        write_segment(model, "film.mkv", segment, Path(f"{segment.index}.mp4"))
    join_segments("film.mkv", [Path(f"{segment.index}.mp4") for segment in segments], Path("large.mp4"))

Segments and their reports can be pickled.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from pathlib import Path

from .._util.files import replacing
from ..engine.context import Context
from ..engine.report import Report
from ..engine.settings import Settings
from ..errors import OptionError
from ..models.build import Model
from .codecs import VideoSettings, encoders
from .demuxer import Demuxer
from .one_pass import upscaling
from .source import Source, name_of, opened
from .transcode import transcode_frames
from .video_report import VideoReport
from .window import Segment

FRAMES = 250
"""The default number of frames in a segment: about ten seconds, after which encoders insert a key frame anyway."""


def plan_segments(source: Source, frames: int = FRAMES, *, start: float = 0, duration: float = 0) -> list[Segment]:
    """Divide a video into segments by reading its packets, without decoding them.

    The same source, number and window always give the same segments. A video without a time for each frame is one segment.

    Args:
        source, start, duration: as in `copy_video`.
        frames: the number of frames in a segment; the last one has the rest.

    Raises:
        MissingExtraError: PyAV is not installed.
        VideoError: the source cannot be read, or breaks off.
        OptionError: the number is below 1, or the window is outside of the source.
    """
    if frames < 1:
        raise OptionError(f"The number of frames in a segment is {frames}. Expected at least 1.")
    whole = Segment(0, start, duration, None, None, 0, None, 0)
    with opened(source) as container:
        demuxer = Demuxer(container, name_of(source), start=start, duration=duration)
        times, keys = demuxer.frame_times()
    if not times:
        return [whole]
    firsts = [None, *(times[cut] for cut in range(frames, len(times), frames)), None]
    segments: list[Segment] = []
    for index, (first, end) in enumerate(pairwise(firsts)):
        key, seek = (None, 0) if first is None else _key_before(keys, first + demuxer.window.shift)
        segments.append(Segment(index, start, duration, first, end, min(frames, len(times) - index * frames), key, seek))
    return segments


def _key_before(keys: list[tuple[int, int]], stamp: int) -> tuple[int | None, int]:
    """Return the key frame to decode from for all frames from this time stamp on.

    It is the last but one. After a key frame that only promises to recover, as H.264 has with intra refresh, decoders return frames
    after a delay.
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
    """Upscale a segment to a file of its own: only the frames, with their times in the whole.

    The file appears when it is complete and on the disk. It begins with a key frame, and plays.

    Args:
        model, source: as in `upscale_video`.
        segment: one that `plan_segments` returns for this source.
        path: the file, with the same suffix as the whole.
        settings, video: as in `upscale_video`, and the same for all segments.
        context, overwrite: as in `upscale_video`.
        count: the number of frames, for progress. By default the segment's.

    Returns:
        The reports of the upscale and of the frames. If no frame can be decoded, the first is None and the file is empty.

    Raises:
        SpanArchError: as `upscale_frames` and `copy_video`, but finished frames are not kept.
    """
    path, video = Path(path), video or VideoSettings()
    encoders(path, video)
    reports: list[Report] = []
    transform = upscaling(model, settings, context or Context(), count or segment.frames or None, reports.append)
    with opened(source) as container, replacing(path, overwrite=overwrite, durable=True) as temporary:
        demuxer = Demuxer(container, name_of(source), start=segment.start, duration=segment.duration, segment=segment)
        video_report, error = transcode_frames(demuxer, temporary, transform, video, lambda frames: None, video_only=True)
        if error is not None:
            raise error
    return (reports[0] if reports else None), video_report
