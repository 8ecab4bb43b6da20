"""Jobs, done one after the other by one model."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from itertools import groupby

from ..engine.context import Context
from ..errors import DiskFullError
from ..models.build import Model
from .images import upscale_images
from .job import Job, Outcome
from .videos import upscale_one_video


def upscale_jobs(
    model: Model,
    jobs: Iterable[Job],
    context: Context | None = None,
) -> Generator[Outcome]:
    """Upscales files to files, in memory that grows neither with their number nor with the number of their frames.

    Files are read ahead and written behind while the network computes. Pictures go through it in one stream, so that what is prepared
    for one serves the next of its size. A file that cannot be read, upscaled or written does not keep the others from being done. Files
    are written whole or not at all; whoever closes the iterator, or interrupts it, loses no file that is done.

    Args:
        model: as in `upscale_frames`.
        jobs: what to do.
        context: as in `upscale_frames`. Progress names the job as its ``item`` and counts the frames of that job. If its listener raises
            an exception, the run ends. There is one report for every row of images with the same settings, and one for every video.

    Yields:
        What became of each job, as soon as that is known; on a GPU, where several frames are computed at a time, those that fail may
        come before their turn. When the disk is full, the outcome that says so is the last.

    Raises:
        OutOfMemoryError: never; like all errors of this library, it is in the outcome of its job.
    """
    with closing(_outcomes(model, jobs, context or Context())) as outcomes:
        for outcome in outcomes:
            yield outcome
            if isinstance(outcome.error, DiskFullError):
                return


def run_job(model: Model, job: Job, context: Context | None = None) -> Outcome:
    """Does a single job. Arguments and the outcome are as in `upscale_jobs`."""
    (outcome,) = upscale_jobs(model, [job], context)
    return outcome


def _outcomes(model: Model, jobs: Iterable[Job], context: Context) -> Generator[Outcome]:
    for (is_video, _), group in groupby(jobs, key=lambda job: (job.is_video, job.settings)):
        if is_video:
            for job in group:
                yield upscale_one_video(model, job, context)
        else:
            yield from upscale_images(model, list(group), context)
