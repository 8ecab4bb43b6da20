"""The work that is sent to a worker process, the worker, and the results that it sends back."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from .._util.memory import best_device
from .._util.process import set_torch_threads
from ..archs.bounds import Limits
from ..archs.normalisation import Normalisation
from ..batch import Job, Outcome, upscale_jobs
from ..batch.job import failed
from ..engine.context import Context
from ..engine.report import Report
from ..models.build import FamilyModel, Model, adopt, from_state_dict
from ..models.other_families import load_other
from ..video import Segment, VideoReport, write_segment


@dataclass(frozen=True)
class Weights:
    """A model as it is sent to workers."""

    state: Mapping[str, Tensor]
    normalisation: Normalisation | None
    limits: Limits | None

    @classmethod
    def of(cls, model: Model) -> Weights:
        """Return the weights of a model, on the CPU."""
        ours = adopt(model)
        normalisation, limits = (ours.normalisation, ours.limits) if isinstance(ours, FamilyModel) else (None, None)
        if limits is not None:
            limits = {path: (low.cpu(), high.cpu()) for path, (low, high) in limits.items()}
        return cls({key: tensor.cpu() for key, tensor in ours.model.state_dict().items()}, normalisation, limits)

    def build(self) -> Model:
        """Build the model, on the CPU."""
        return load_other(self.state, "The model") or from_state_dict(
            self.state, normalise=self.normalisation, bounded=self.limits is not None, limits=self.limits
        )


@dataclass(frozen=True)
class ImageBatch:
    """A few jobs of images, to run in one stream."""

    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class SegmentTask:
    """A segment of a video, to upscale to a file of its own."""

    job: Job
    segment: Segment
    path: Path


@dataclass(frozen=True)
class SegmentDone:
    """A segment that was written."""

    job: Job
    segment: Segment
    report: Report | None
    video: VideoReport


@dataclass(frozen=True)
class SegmentFailed:
    """A segment that failed."""

    job: Job
    segment: Segment
    error: Exception


Work = ImageBatch | SegmentTask
Result = Outcome | SegmentDone | SegmentFailed
Row = dict[str, bytes]
"""A row of a Ray dataset with one column, which holds a pickled object."""


def to_row(value: object) -> Row:
    """Pickle an object into a row."""
    return {"pickle": pickle.dumps(value)}


def from_row(row: Row) -> Any:
    """Return the object in a row. It comes from the cluster, which may run any code on this machine anyway."""
    return pickle.loads(row["pickle"])


class Worker:
    """A worker with a process and a model of its own."""

    def __init__(self, weights: Weights, threads: int) -> None:
        set_torch_threads(threads)
        self._model, self._context = weights.build(), Context(best_device())

    def __call__(self, row: Row) -> Row:
        """Do the work in a row, and return its results in another. Only an exception that is not an `Exception` ends the worker."""
        work: Work = from_row(row)
        if isinstance(work, ImageBatch):
            return to_row(list(upscale_jobs(self._model, work.jobs, self._context)))
        return to_row([self._upscale(work)])

    def _upscale(self, task: SegmentTask) -> Result:
        job, segment = task.job, task.segment
        try:
            report, video = write_segment(
                self._model, job.source, segment, task.path, job.settings, job.video_settings, self._context, overwrite=True
            )
        except Exception as error:
            return SegmentFailed(job, segment, failed(job, error).error or error)
        return SegmentDone(job, segment, report, video)
