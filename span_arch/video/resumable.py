"""A video, upscaled so that whatever ends a run costs no more than the segment that was being made."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from .._util.files import check_output
from ..engine.context import Context
from ..engine.progress import ProgressListener
from ..engine.report import Report, total
from ..engine.settings import Settings
from ..errors import SpanArchError
from ..models.build import Model
from .codecs import VideoSettings, encoders
from .concat import join_segments
from .segment_store import Finished, SegmentFolder, job_of
from .segments import FRAMES, Segment, plan_segments, write_segment
from .source import Source, name_of, no_frames, opened
from .transcode import VideoReport, warnings_of


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
    """Upscales a video as `upscale_video` does, and goes on where an earlier call with the same arguments was ended, however it was.

    The video is written in segments to a folder beside the target, ``NAME.segments``. At the end they are joined, and the folder is
    deleted. Whatever ends a call (an error, an exception from ``progress``, a kill, a power cut) costs the segment that was being made.
    The result is that of a call that was not ended. Other than that of `upscale_video`, it has a key frame at the start of each segment.

    Args:
        model: as in `upscale_video`. Its weights have to be those of the earlier call.
        source: as in `upscale_video`. Its content has to be that of the earlier call.
        target: as in `upscale_video`.
        settings: as in `upscale_video`; the same as in the earlier call.
        video: as in `upscale_video`; the same as in the earlier call.
        context: as in `upscale_video`. Progress begins with what the earlier call has finished. If its listener raises an exception, the
            run ends, and finished segments stay.
        segment_frames: how many frames a segment has. An earlier call's are kept.
        start: as in `upscale_video`; the same as in the earlier call.
        duration: as in `upscale_video`; the same as in the earlier call.
        overwrite: whether a file that is there may be replaced.
        count: about how many frames there are, for progress, if the source does not tell the time of each.

    Returns:
        What the upscale was like, and what became of the video; of all calls together.

    Raises:
        SpanArchError: as `upscale_video`, but that finished segments stay, and nothing else.
        OptionError: there are segments that were begun with another source, other weights or other settings.
        OutputError: another process is at work on this target.
        MissingExtraError: PyAV or the package filelock is not installed.
    """
    target, settings, video = Path(target), settings or Settings(), video or VideoSettings()
    window = {"start": start, "duration": duration}
    context = context or Context()
    plan = partial(plan_segments, source, segment_frames, **window)
    with begun(model, source, target, settings, video, plan, overwrite=overwrite, **window) as folder:
        with telling(folder):
            for segment in folder.missing():
                within = replace(context, progress=_progress_of(segment, folder, context.progress))
                report, told = write_segment(
                    model, source, segment, folder.part(segment), settings, video, within, overwrite=True, count=count
                )
                folder.finish(segment, report, told)
        return finish(folder, source, target, overwrite=overwrite, **window)


@contextmanager
def begun(
    model: Model,
    source: Source,
    target: Path,
    settings: Settings,
    video: VideoSettings,
    plan: Callable[[], list[Segment]],
    *,
    start: float = 0,
    duration: float = 0,
    overwrite: bool = False,
) -> Generator[SegmentFolder]:
    """The folder for the segments of a video, begun or gone on with, and kept for this process until the block is left.

    Arguments and errors are as in `upscale_video_resumably`. ``plan`` gives the segments, if this is the beginning.
    """
    encoders(target, video)
    check_output(target, overwrite=overwrite)
    with opened(source):  # what is no video gets no folder
        job = job_of(model, source, settings, video, start=start, duration=duration)
    folder = SegmentFolder(target.with_name(f"{target.name}.segments"), target.suffix)
    with folder.locked():
        check_output(target, overwrite=overwrite)  # whoever was in there before may have made it
        folder.begin(job, plan)
        yield folder


def finish(
    folder: SegmentFolder, source: Source, target: Path, *, start: float = 0, duration: float = 0, overwrite: bool = False
) -> tuple[Report, VideoReport]:
    """Joins the segments, once none is missing, and clears their folder. Arguments and errors are as in `upscale_video_resumably`."""
    if not any(one.video.frames for one in folder.finished.values()):
        folder.clear()
        raise no_frames(name_of(source), None)
    with telling(folder):
        left_out = join_segments(source, folder.parts, folder.whole, start=start, duration=duration, overwrite=True)
        folder.hand_over(target, overwrite=overwrite)
    return _reports([folder.finished[segment.index] for segment in folder.segments], name_of(source), left_out)


@contextmanager
def telling(folder: SegmentFolder) -> Generator[None]:
    """Adds to errors what there is by then."""
    try:
        yield
    except SpanArchError as error:
        raise type(error)(
            f"{error} Of {len(folder.segments)} segments, {len(folder.finished)} are finished, in '{folder.path}'. The same call goes on "
            "from there."
        ) from error


def _progress_of(segment: Segment, folder: SegmentFolder, listener: ProgressListener | None) -> ProgressListener | None:
    """Return a listener for a segment that counts its frames among those of all."""
    if listener is None or not segment.frames:
        return listener
    before = sum(one.frames for one in folder.segments if one.index in folder.finished)
    frames = sum(one.frames for one in folder.segments)

    return lambda progress: listener(replace(progress, frame=before + progress.frame, frames=frames))


def _reports(finished: Sequence[Finished], name: str, left_out: Sequence[str]) -> tuple[Report, VideoReport]:
    reports, told = [one.report for one in finished if one.report is not None], [one.video for one in finished]
    broken = sum(one.broken for one in told)
    warnings = [*(warning for one in told for warning in one.warnings), *warnings_of(broken, name), *left_out]
    report = replace(
        reports[-1],
        frames=sum(one.frames for one in reports),
        seconds=sum(one.seconds for one in reports),
        recovered=total(one.recovered for one in reports),
    )
    encoder = next(one.encoder for one in told if one.encoder)
    return report, VideoReport(sum(one.frames for one in told), broken, encoder, tuple(dict.fromkeys(warnings)))
