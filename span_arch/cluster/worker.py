"""What is sent to a worker, what the worker does, and what it sends back."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from .._util.memory import best_device
from .._util.process import set_torch_threads
from ..archs.normalisation import Normalisation
from ..batch import Job, Outcome, upscale_jobs
from ..batch.job import failed
from ..engine.context import Context
from ..engine.report import Report
from ..models.build import FamilyModel, from_state_dict
from ..video import Segment, VideoReport, write_segment


@dataclass(frozen=True)
class Weights:
    """All that there is to know of a model to make it again."""

    state: Mapping[str, Tensor]
    normalisation: Normalisation | None

    @classmethod
    def of(cls, model: FamilyModel) -> Weights:
        """Those of a model."""
        return cls({key: tensor.cpu() for key, tensor in model.model.state_dict().items()}, model.normalisation)

    def model(self) -> FamilyModel:
        """The model, on the CPU."""
        return from_state_dict(self.state, normalise=self.normalisation)


@dataclass(frozen=True)
class Pictures:
    """A few pictures, done in one stream."""

    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class Part:
    """A segment of a video."""

    job: Job
    segment: Segment
    path: Path
    """Where its file goes."""


@dataclass(frozen=True)
class PartDone:
    """What became of it."""

    job: Job
    segment: Segment
    report: Report | None
    video: VideoReport


@dataclass(frozen=True)
class PartFailed:
    """That nothing became of it."""

    job: Job
    segment: Segment
    error: Exception


Work = Pictures | Part
Result = Outcome | PartDone | PartFailed
Row = dict[str, bytes]
"""As Ray Data has it: an object that is pickled, under a name."""


def row_of(thing: object) -> Row:
    """An object on its way."""
    return {"pickle": pickle.dumps(thing)}


def thing_of(row: Row) -> Any:
    """The object that arrives."""
    return pickle.loads(row["pickle"])  # by way of a cluster, which runs what it likes on this machine anyway


class Worker:
    """Does work in a process of its own, with a model that is made once.

    Args:
        weights: of the model.
        threads: to compute with on a CPU.
    """

    def __init__(self, weights: Weights, threads: int) -> None:
        set_torch_threads(threads)
        self._model, self._device = weights.model(), best_device()

    def __call__(self, row: Row) -> Row:
        """Does what a row tells, and tells what became of it. Only what is no `Exception` ends the worker."""
        work: Work = thing_of(row)
        if isinstance(work, Pictures):
            return row_of(list(upscale_jobs(self._model, work.jobs, Context(device=self._device))))
        return row_of([self._part(work)])

    def _part(self, part: Part) -> Result:
        job, segment = part.job, part.segment
        try:
            context = Context(device=self._device)
            told = write_segment(self._model, job.source, segment, part.path, job.settings, job.video_settings, context, overwrite=True)
        except Exception as error:
            return PartFailed(job, segment, failed(job, error).error or error)
        return PartDone(job, segment, *told)
