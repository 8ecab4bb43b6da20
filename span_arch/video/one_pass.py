"""Upscaling of a video in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from ..engine.context import Context
from ..engine.report import Report, Reporter
from ..engine.settings import Settings
from ..models.build import Model
from ..upscaling import upscale_frames
from .codecs import VideoSettings
from .headroom import Headroom
from .source import Source
from .transcode import Transform, copy_video
from .video_report import VideoReport


def upscale_video(
    model: Model,
    source: Source,
    target: Path,
    settings: Settings | None = None,
    video: VideoSettings | None = None,
    context: Context | None = None,
    *,
    start: float = 0,
    duration: float = 0,
    overwrite: bool = False,
    count: int | None = None,
) -> tuple[Report, VideoReport]:
    """Upscale a video from file to file, in memory that does not grow with its length.

    Reading, upscaling and writing run at the same time. Everything that `copy_video` keeps is kept.

    Args:
        model, settings: as in `upscale_frames`.
        source, target, start, duration, overwrite: as in `copy_video`.
        video: how to write the result.
        context: as in `upscale_frames`. If its progress listener raises an exception, the run ends and leaves no file.
        count: the approximate number of frames, for progress.

    Returns:
        The reports of the upscale and of the video.

    Raises:
        SpanArchError: as `upscale_frames` and `copy_video`.
    """
    reports: list[Report] = []
    transform = upscaling(model, settings, context or Context(), count, reports.append)
    video_report = copy_video(source, target, transform, video, start=start, duration=duration, overwrite=overwrite)
    return reports[0], video_report


def upscaling(model: Model, settings: Settings | None, context: Context, count: int | None, report: Reporter) -> Transform:
    """Return the transform that upscales frames, and passes the report to ``report`` at the end."""

    def transform(frames: Iterator[Tensor]) -> Iterator[Tensor]:
        headroom = Headroom(settings.size if settings is not None else None, model.scale)
        results = upscale_frames(model, headroom.remove(frames), settings, replace(context, report=report), count=count)
        return headroom.restore(results)

    return transform
