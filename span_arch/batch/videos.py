"""A video, from file to file."""

from __future__ import annotations

from dataclasses import replace

from ..engine.context import Context
from ..engine.progress import Progress
from ..models.build import Model
from ..video import probe, upscale_video, upscale_video_resumably
from .job import Job, Outcome, check_target, failed


def upscale_one_video(model: Model, job: Job, context: Context) -> Outcome:
    """Does a job of a video. Arguments and the outcome are as in `upscale_jobs`."""
    stopped: list[Exception] = []

    def listen(progress: Progress) -> None:
        try:
            if context.progress is not None:
                context.progress(replace(progress, item=job))
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
            replace(context, progress=listen),
            overwrite=job.existing == "replace",
            count=probe(job.source).frames or None,
        )
    except Exception as error:
        if stopped:
            raise
        return failed(job, error)
    if context.report is not None:
        context.report(told)
    return Outcome(job, "done", frames=written.frames, before=told.source, after=told.result, notes=written.warnings)
