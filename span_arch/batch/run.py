"""Jobs, done one after the other by one model."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from itertools import groupby
from typing import Any

import torch

from ..engine.report import Reporter
from ..errors import DiskFullError
from ..models.build import Model
from .images import upscale_images
from .job import Job, Outcome, Progress
from .videos import upscale_one_video


def upscale_jobs(
    model: Model,
    jobs: Iterable[Job],
    *,
    device: torch.device | str | None = None,
    room: Callable[[int], int] | None = None,
    progress: Progress | None = None,
    report: Reporter | None = None,
) -> Generator[Outcome]:
    """Upscales files to files, in memory that grows neither with their number nor with the number of their frames.

    Files are read ahead and written behind while the network computes. Pictures go through it in one stream, so that what is prepared
    for one serves the next of its size. A file that cannot be read, upscaled or written does not keep the others from being done. Files
    are written whole or not at all; whoever closes the iterator, or interrupts it, loses no file that is done.

    Args:
        model: as in `upscale_frames`.
        jobs: what to do.
        device: where to compute; by default where the model is.
        room: as in `upscale_frames`.
        progress: told a job, and the pixels that the network has been shown of it and is to be shown in all, often within a frame. What
            it raises ends all, and passes through.
        report: told what the upscale was like, once for every row of pictures with the same settings and once for every video.

    Yields:
        What became of each job, as soon as that is known; on a GPU, where several frames are computed at a time, those that fail may
        come before their turn. When the disk is full, the outcome that says so is the last.

    Raises:
        OutOfMemoryError: never; like all errors of this library, it is in the outcome of its job.
    """
    options = {"device": device, "room": room, "progress": progress, "report": report}
    with closing(_outcomes(model, jobs, **options)) as outcomes:
        for outcome in outcomes:
            yield outcome
            if isinstance(outcome.error, DiskFullError):
                return


def run_job(
    model: Model,
    job: Job,
    *,
    device: torch.device | str | None = None,
    room: Callable[[int], int] | None = None,
    progress: Progress | None = None,
    report: Reporter | None = None,
) -> Outcome:
    """Does a single job. Arguments and the outcome are as in `upscale_jobs`."""
    (outcome,) = upscale_jobs(model, [job], device=device, room=room, progress=progress, report=report)
    return outcome


def _outcomes(model: Model, jobs: Iterable[Job], **options: Any) -> Generator[Outcome]:
    for (is_video, _), group in groupby(jobs, key=lambda job: (job.is_video, job.settings)):
        if is_video:
            for job in group:
                yield upscale_one_video(model, job, **options)
        else:
            yield from upscale_images(model, list(group), **options)
