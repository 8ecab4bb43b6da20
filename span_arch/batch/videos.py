"""A video, from file to file."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..engine.report import Reporter
from ..models.build import Model
from ..video import probe, upscale_video, upscale_video_resumably
from .job import Job, Outcome, Progress, check_target, failed


def upscale_one_video(
    model: Model,
    job: Job,
    *,
    device: torch.device | str | None = None,
    room: Callable[[int], int] | None = None,
    progress: Progress | None = None,
    report: Reporter | None = None,
) -> Outcome:
    """Does a job of a video. Arguments and the outcome are as in `upscale_jobs`."""
    stopped: list[Exception] = []

    def tell(done: int, total: int) -> None:
        try:
            if progress is not None:
                progress(job, done, total)
        except Exception as error:
            stopped.append(error)
            raise

    try:
        if job.is_skipped:
            return Outcome(job, "skipped")
        check_target(job)
        told, written = (upscale_video_resumably if job.resume else upscale_video)(
            model,
            job.source,
            job.target,
            job.settings,
            job.video_settings,
            overwrite=job.existing == "replace",
            count=probe(job.source).frames,
            device=device,
            room=room,
            progress=tell,
        )
    except Exception as error:
        if stopped:
            raise
        return failed(job, error)
    if report is not None:
        report(told)
    return Outcome(job, "done", frames=written.frames, before=told.source, after=told.result, notes=written.warnings)
