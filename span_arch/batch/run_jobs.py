"""Run jobs one after the other with one model."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import replace
from itertools import groupby

from ..engine.context import Context
from ..engine.progress import Progress
from ..models.build import Model
from ..video import probe, upscale_video, upscale_video_resumably
from .image_stream import upscale_images
from .job import Job, Outcome, check_target, failed, until_disk_full


def upscale_jobs(model: Model, jobs: Iterable[Job], context: Context | None = None) -> Generator[Outcome]:
    """Upscale files to files, in memory that grows neither with their number nor with their frames.

    Helper threads read the next files and write the last ones while the network computes. Consecutive images with the same settings go
    through the network in one stream, so images of one size share its preparation. Files are written completely or not at all. If the
    caller closes the iterator or interrupts it, finished files stay.

    Args:
        model: as in `upscale_frames`.
        jobs: the files to upscale.
        context: as in `upscale_frames`. Progress has the job as its `item` and counts the frames of that job. If its listener raises an
            exception, the run ends. There is a report for each stream of images and for each video.

    Yields:
        The outcome of each job, in the order in which they end. Errors of this library are in the outcomes; they do not stop the other
        jobs. After the first outcome that says the disk is full, the run ends.
    """
    return until_disk_full(_outcomes(model, jobs, context or Context()))


def run_job(model: Model, job: Job, context: Context | None = None) -> Outcome:
    """Run a single job (see `upscale_jobs`)."""
    (outcome,) = upscale_jobs(model, [job], context)
    return outcome


def _outcomes(model: Model, jobs: Iterable[Job], context: Context) -> Generator[Outcome]:
    for (is_video, _), group in groupby(jobs, key=lambda job: (job.is_video, job.settings)):
        if is_video:
            for job in group:
                yield _upscale_video(model, job, context)
        else:
            yield from upscale_images(model, list(group), context)


def _upscale_video(model: Model, job: Job, context: Context) -> Outcome:
    cancelled: list[Exception] = []

    def listen(event: Progress) -> None:
        try:
            if context.progress is not None:
                context.progress(replace(event, item=job))
        except Exception as error:
            cancelled.append(error)
            raise

    try:
        if job.is_skipped:
            return Outcome(job, "skipped")
        check_target(job)
        report, video = (upscale_video_resumably if job.resume else upscale_video)(
            model,
            job.source,
            job.target,
            job.settings,
            job.video_settings,
            replace(context, progress=listen),
            overwrite=job.overwrite,
            count=probe(job.source).frames or None,
        )
    except Exception as error:
        if cancelled:  # an exception of the listener, which ends the run
            raise
        return failed(job, error)
    if context.report is not None:
        context.report(report)
    return Outcome(job, "done", frames=video.frames, source_size=report.source, result_size=report.result, video=video)
