"""Jobs and their outcomes: plain data that can be pickled and used on any machine that sees the files."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .._util.files import check_output, make_folder
from ..engine.settings import Settings
from ..errors import DiskFullError, SpanArchError
from ..image_ops.sizes import Pair
from ..video import VideoReport, VideoSettings
from .file_kinds import default_codec, is_video

Existing = Literal["keep", "skip", "replace"]
"""What to do if the target exists: fail and keep it, skip the job, or replace it."""
State = Literal["done", "skipped", "failed"]


@dataclass(frozen=True)
class Job:
    """A file to upscale, with everything that is needed except the model."""

    source: Path
    """An image, still or animated, or a video."""
    target: Path
    """The result. Its suffix selects the format."""
    settings: Settings = field(default_factory=Settings)
    quality: int | None = None
    """Quality of an image from 1 to 100, for formats that have one (see `write_images`)."""
    video: VideoSettings | None = None
    """How to encode a video. None: H.264, or AV1 in .webm."""
    existing: Existing = "keep"
    resume: bool = False
    """Write a video in segments, so that a later run can continue it (see `upscale_video_resumably`)."""
    make_folder: bool = False
    """Create the folder of the target if it does not exist."""

    @property
    def is_video(self) -> bool:
        """True if the source or the target is named as a video, so that PyAV reads and writes both."""
        return is_video(self.source) or is_video(self.target)

    @property
    def is_skipped(self) -> bool:
        """True if there is nothing to do because the target exists."""
        return self.existing == "skip" and os.path.lexists(self.target)

    @property
    def overwrite(self) -> bool:
        """True if the job may replace its target."""
        return self.existing == "replace"

    @property
    def video_settings(self) -> VideoSettings:
        """How to encode a video, defaults included."""
        return self.video or VideoSettings(default_codec(self.target))


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job. Its text is one line."""

    job: Job
    state: State
    error: SpanArchError | None = None
    """The reason why the job failed; None if it did not."""
    frames: int = 0
    """How many frames were written."""
    source_size: Pair | None = None
    """Height and width of the source in pixels; None if it was not read."""
    result_size: Pair | None = None
    """Height and width of the result in pixels; None if it was not written."""
    video: VideoReport | None = None
    """The report of a video; None for an image."""

    @property
    def notes(self) -> tuple[str, ...]:
        """The differences from the source, one sentence each."""
        return () if self.video is None else self.video.sentences

    def __str__(self) -> str:
        if self.error is not None:
            return f"{self.job.source}: {self.error}"
        if self.source_size is None or self.result_size is None:
            return f"{self.job.target}: skipped because it exists."
        return " ".join([f"{self.job.target}: {describe_sizes(self.frames, self.source_size, self.result_size)}.", *self.notes])


def describe_sizes(frames: int, source: Pair, result: Pair) -> str:
    """Return a text such as ``4 x 20x14 to 40x28``: frames if there are several, then width x height before and after."""
    return f"{f'{frames} x ' if frames != 1 else ''}{source[1]}x{source[0]} to {result[1]}x{result[0]}"


def until_disk_full(outcomes: Generator[Outcome]) -> Generator[Outcome]:
    """Yield outcomes up to the first one that failed because the disk is full."""
    with closing(outcomes):
        for outcome in outcomes:
            yield outcome
            if isinstance(outcome.error, DiskFullError):
                return


def check_target(job: Job) -> None:
    """Create the target's folder if the job says so, and check before the work that the target can be written.

    Raises:
        OutputError: the target cannot be written.
    """
    if job.make_folder:
        make_folder(job.target.parent)
    check_output(job.target, overwrite=job.overwrite)


def failed(job: Job, error: Exception) -> Outcome:
    """Return the outcome of a job that ended with an error. An error that is not the library's own is reported as unexpected."""
    if not isinstance(error, SpanArchError):
        unexpected = SpanArchError(f"{job.source} failed unexpectedly ({type(error).__name__}: {error}). Please report this as a bug.")
        unexpected.__cause__ = error
        error = unexpected
    return Outcome(job, "failed", error)
