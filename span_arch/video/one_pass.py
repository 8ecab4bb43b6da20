"""A video, upscaled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from ..engine.progress import Progress
from ..engine.report import Report, Reporter
from ..engine.settings import Settings
from ..models.build import Model
from ..upscale import upscale_frames
from .codecs import VideoSettings
from .headroom import Beyond
from .source import Source
from .transcode import Transform, VideoReport, copy_video, unchanged


def upscale_video(
    model: Model,
    source: Source,
    target: Path,
    settings: Settings | None = None,
    video: VideoSettings | None = None,
    *,
    start: float = 0,
    duration: float = 0,
    overwrite: bool = False,
    count: int = 0,
    device: torch.device | str | None = None,
    room: Callable[[int], int] | None = None,
    progress: Progress | None = None,
    look: Transform = unchanged,
) -> tuple[Report, VideoReport]:
    """Upscales a video from file to file, in memory that does not grow with its length.

    Reading, upscaling and writing go on at the same time. All else that `copy_video` keeps is kept.

    Args:
        model: as in `upscale_frames`.
        source: as in `copy_video`.
        target: as in `copy_video`.
        settings: what is asked of the upscale.
        video: how the result is written.
        start: as in `copy_video`.
        duration: as in `copy_video`.
        overwrite: whether a file that is there may be replaced.
        count: about how many frames there are, for progress.
        device: as in `upscale_frames`.
        room: as in `upscale_frames`.
        progress: as in `upscale_frames`: with pixels, often within a frame. What it raises ends all, and nothing is left.
        look: is passed the finished frames, and passes them on; for whoever wants to see them.

    Returns:
        What the upscale was like, and what became of the video.

    Raises:
        SpanArchError: as `upscale_frames` and `copy_video`.
    """
    reports: list[Report] = []
    transform = upscaling(model, settings, count=count, device=device, room=room, progress=progress, look=look, report=reports.append)
    told = copy_video(source, target, transform, video, start=start, duration=duration, overwrite=overwrite)
    return reports[0], told


def upscaling(
    model: Model,
    settings: Settings | None,
    *,
    count: int,
    device: torch.device | str | None,
    room: Callable[[int], int] | None,
    progress: Progress | None,
    look: Transform,
    report: Reporter,
) -> Transform:
    """The transform that upscales; what it is given is as in `upscale_video`."""

    def transform(frames: Iterator[Tensor]) -> Iterator[Tensor]:
        beyond = Beyond(settings.size if settings is not None else None, model.scale)
        results = upscale_frames(
            model, beyond.taken_off(frames), settings, count=count, device=device, room=room, progress=progress, report=report
        )
        return look(beyond.put_on(results))

    return transform
