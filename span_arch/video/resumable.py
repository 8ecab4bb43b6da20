"""Upscaling of a video in segments, so that an interrupted run loses no more than the segment in work."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from .._util.text import with_context
from ..engine.context import Context
from ..engine.progress import ProgressListener
from ..engine.report import Report, total
from ..engine.settings import Settings
from ..errors import SpanArchError
from ..models.build import Model
from .codecs import VideoSettings
from .segment_store import SegmentStore, open_store
from .segments import FRAMES, plan_segments, write_segment
from .source import Source, name_of, no_frames
from .video_report import VideoReport
from .window import Segment


def upscale_video_resumably(
    model: Model,
    source: Source,
    target: Path,
    settings: Settings | None = None,
    video: VideoSettings | None = None,
    context: Context | None = None,
    *,
    segment_frames: int = FRAMES,
    start: float = 0,
    duration: float = 0,
    overwrite: bool = False,
    count: int | None = None,
) -> tuple[Report, VideoReport]:
    """Upscale a video as `upscale_video` does, and continue where an earlier call with the same arguments ended.

    The segments are written to a folder next to the target, ``NAME.segments``. In the end they are joined, and the folder is deleted.
    If a call ends early (an error, an exception of the progress listener, a power cut), only the segment in work is lost. The result
    equals that of an uninterrupted call. Unlike that of `upscale_video`, it has a key frame at the start of each segment.

    Args:
        model, source, target, settings, video, start, duration, overwrite: as in `upscale_video`. All but the last have to be the same in
            every call; a source may be renamed.
        context: as in `upscale_video`. Progress begins with the frames of the earlier call. If its listener raises an exception, the run
            ends, and finished segments stay.
        segment_frames: the number of frames in a segment. An earlier call's segments are kept.
        count: the approximate number of frames, for progress, if the source does not store the time of each.

    Returns:
        The reports of the upscale and of the video, over all calls.

    Raises:
        SpanArchError: as `upscale_video`, but finished segments stay, and nothing else.
        OptionError: there are segments of another source, other weights or other settings.
        OutputError: another process is working on this target.
        MissingExtraError: PyAV or the package filelock is not installed.
    """
    target, settings, video = Path(target), settings or Settings(), video or VideoSettings()
    context, window = context or Context(), {"start": start, "duration": duration}
    plan = partial(plan_segments, source, segment_frames, **window)
    with open_store(model, source, target, settings, video, plan, overwrite=overwrite, **window) as store:
        with mentioning_finished(store):
            for segment in store.missing:
                shifted = replace(context, progress=_progress_of(segment, store, context.progress))
                reports = write_segment(model, source, segment, store.part(segment), settings, video, shifted, overwrite=True, count=count)
                store.finish(segment, *reports)
        return join_finished(store, source, overwrite=overwrite, **window)


def join_finished(
    store: SegmentStore, source: Source, *, start: float = 0, duration: float = 0, overwrite: bool = False
) -> tuple[Report, VideoReport]:
    """Join the segments when none is missing, and clear their store. Arguments and errors are as in `upscale_video_resumably`."""
    finished = [store.finished[segment.index] for segment in store.segments]
    if not any(one.video.frames for one in finished):
        store.clear()
        raise no_frames(name_of(source))
    with mentioning_finished(store):
        left_out = store.join(source, start=start, duration=duration, overwrite=overwrite)
    reports, videos = [one.report for one in finished if one.report is not None], [one.video for one in finished]
    frames, seconds = sum(one.frames for one in reports), sum(one.seconds for one in reports)
    report = replace(reports[-1], frames=frames, seconds=seconds, recovered=total(one.recovered for one in reports))
    notes = dict.fromkeys([*(note for one in videos for note in one.notes), *left_out])  # each once
    encoder, broken = next(one.encoder for one in videos if one.encoder), sum(one.broken for one in videos)
    return report, VideoReport(sum(one.frames for one in videos), broken, encoder, tuple(notes))


@contextmanager
def mentioning_finished(store: SegmentStore) -> Generator[None]:
    """Add the number of finished segments to errors."""
    try:
        yield
    except SpanArchError as error:
        finished = f"{len(store.finished)} of {len(store.segments)} segments are finished, in {store.path}"
        raise with_context(error, f"{finished}. Repeat the call to continue from there.") from error


def _progress_of(segment: Segment, store: SegmentStore, listener: ProgressListener | None) -> ProgressListener | None:
    """Return a listener for a segment that counts its frames among those of all."""
    if listener is None or not segment.frames:
        return listener
    before = sum(one.frames for one in store.segments if one.index in store.finished)
    frames = sum(one.frames for one in store.segments)
    return lambda progress: listener(replace(progress, frame=before + progress.frame, frames=frames))
