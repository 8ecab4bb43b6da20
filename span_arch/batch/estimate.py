"""How long jobs will take, measured rather than known."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from ..engine.context import Context
from ..engine.settings import Settings
from ..models.build import Model
from ..upscale import upscale_frames
from .inspect_inputs import Foresight
from .job import Job

_SIDE = 256
"""Pixels of a side of what is tried, at most: enough for the speed to be that of large pictures."""

_RUNS = 3
"""The first one prepares what the others share, and another program may be in the way of any."""


@dataclass(frozen=True)
class Estimate:
    """What jobs will take, about."""

    seconds: float
    """Of the network alone, which reading and writing mostly hide behind."""
    pixels: int
    """Of all results."""
    bytes: int
    """Of all results, uncompressed."""


def estimate(model: Model, jobs: Sequence[tuple[Job, Foresight]], context: Context | None = None) -> Estimate:
    """Upscales a small image of noise for every kind of settings among the jobs, and reckons from there.

    Args:
        model: as in `upscale_frames`.
        jobs: with what was foreseen of each.
        context: as in `upscale_frames`.

    Raises:
        SpanArchError: as `upscale_frames`.
    """
    speeds: dict[Settings, float] = {}
    seconds = 0.0
    largest = max((foresight for _, foresight in jobs), key=lambda foresight: foresight.before[0] * foresight.before[1])
    for job, foresight in jobs:
        plain = replace(job.settings, size=None)
        if plain not in speeds:
            speeds[plain] = _seconds_per_pixel(model, plain, largest, context)
        seconds += speeds[plain] * foresight.frames * foresight.shown
    return Estimate(seconds, sum(seen.pixels for _, seen in jobs), sum(seen.bytes for _, seen in jobs))


def _seconds_per_pixel(model: Model, settings: Settings, like: Foresight, context: Context | None) -> float:
    height, width = (min(side, _SIDE) for side in like.before)
    image = torch.rand(height, width, 3)
    ends = [time.perf_counter()]
    for _ in range(_RUNS):
        list(upscale_frames(model, [image], settings, context))
        ends.append(time.perf_counter())
    return min(end - begun for begun, end in pairwise(ends)) / (height * width)
