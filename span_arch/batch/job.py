"""What is to be done, and what became of it: plain data that can be pickled, and done on any machine that sees the files."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .._util.files import check_output, make_folder
from ..engine.settings import Settings
from ..errors import SpanArchError
from ..image_ops.sizes import Pair
from ..video import VideoSettings
from .kinds import default_codec, is_video

Existing = Literal["keep", "skip", "replace"]
"""What to do with a target that is there already: fail and keep it, skip the job, or replace it."""
State = Literal["done", "skipped", "failed"]


@dataclass(frozen=True)
class Job:
    """A file to upscale, and all that there is to know for it but the model."""

    source: Path
    """A picture, still or animated, or a video."""
    target: Path
    """Where the result goes. Its suffix tells the format."""
    settings: Settings = field(default_factory=Settings)
    """What is asked of the upscale."""
    quality: int | None = None
    """Of a picture, 1..100, for formats that have one (see `write_images`)."""
    video: VideoSettings | None = None
    """How a video is written. None: H.264, and AV1 in .webm."""
    existing: Existing = "keep"
    resume: bool = False
    """Whether a video is written in segments, so that it can be gone on with after whatever ends it (see `upscale_video_resumably`)."""
    make_folder: bool = False
    """Whether the folder of the target is made if it is absent."""

    @property
    def is_video(self) -> bool:
        """Whether it is done by way of PyAV: one of its files is named as a video."""
        return is_video(self.source) or is_video(self.target)

    @property
    def is_skipped(self) -> bool:
        """Whether there is nothing to do, since the target is there."""
        return self.existing == "skip" and os.path.lexists(self.target)

    @property
    def video_settings(self) -> VideoSettings:
        """How a video is written, whether that is asked for or not."""
        return self.video or VideoSettings(default_codec(self.target))


@dataclass(frozen=True)
class Outcome:
    """What became of a job. As a text it is one line."""

    job: Job
    state: State
    error: SpanArchError | None = None
    """What it failed with; None if it did not."""
    frames: int = 0
    """How many were written."""
    before: Pair | None = None
    """Height and width of the source, in pixels; None if it was not read."""
    after: Pair | None = None
    """The same of the result."""
    notes: tuple[str, ...] = ()
    """What is not as in the source, a sentence each."""

    def __str__(self) -> str:
        if self.error is not None:
            return f"{self.job.source}: {self.error}"
        if self.before is None or self.after is None:
            return f"{self.job.target}: skipped, it is there already."
        many = f"{self.frames} x " if self.frames > 1 else ""
        text = f"{self.job.target}: {many}{self.before[1]}x{self.before[0]} to {self.after[1]}x{self.after[0]}."
        return " ".join([text, *self.notes])


def check_target(job: Job) -> None:
    """Sees to it that the target can be written, as far as that can be known before the work is done.

    Raises:
        OutputError: it cannot.
    """
    if job.make_folder:
        make_folder(job.target.parent)
    check_output(job.target, overwrite=job.existing == "replace")


def failed(job: Job, error: Exception) -> Outcome:
    """The outcome of a job that an error ended; one that nobody foresaw is told as such."""
    if not isinstance(error, SpanArchError):
        told = SpanArchError(
            f"'{job.source}' failed for a reason that was not foreseen ({type(error).__name__}: {error}). Please report it."
        )
        told.__cause__ = error
        error = told
    return Outcome(job, "failed", error)
