"""Predict from file headers what jobs will write, and from a short test run how long they will take."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from .._util.files import check_output
from ..engine.context import Context
from ..engine.settings import Settings
from ..image_files import check_fits, read_header
from ..image_ops.channels import Channels
from ..image_ops.sizes import Pair, route
from ..image_ops.transparency import composed_channels
from ..models.build import Model
from ..upscaling import upscale_frames
from ..video import probe
from ..video.codecs import encoders
from .job import Job

_TEST_SIDE = 256
"""Pixels of the longest side of a test image. At this size the speed is that of large images."""
_TEST_RUNS = 3


@dataclass(frozen=True)
class Forecast:
    """The expected result of a job, as far as the header of its source shows."""

    source_size: Pair
    """Height and width of the source in pixels."""
    result_size: Pair
    """Height and width of the result in pixels."""
    frames: int
    """Number of frames; approximate for a video."""
    channels: int
    """Channels of the result."""
    bits: int
    """Bits per channel of the result."""
    network_pixels: int
    """Pixels per frame that go through the network, in all passes."""

    @property
    def pixels(self) -> int:
        """Pixels of the result, in all frames."""
        return self.frames * self.result_size[0] * self.result_size[1]

    @property
    def bytes(self) -> int:
        """Bytes of the result before compression."""
        return self.pixels * self.channels * (2 if self.bits > 8 else 1)


def result_channels(model: Model, settings: Settings, channels: int) -> int:
    """Return the number of channels of the result of an image with `channels` channels."""
    return Channels(composed_channels(channels, settings.alpha), model.input_channels, model.output_channels).out


def forecast(model: Model, job: Job) -> Forecast | None:
    """Predict the result of a job, or return None if the job would be skipped.

    This reads the header of an image, and at most the first frame of a video. It writes nothing.

    Raises:
        SpanArchError: the source cannot be read, or the result cannot be written.
    """
    if job.is_skipped:
        return None
    if job.target.exists() or not job.make_folder:
        check_output(job.target, overwrite=job.overwrite)
    if job.is_video:
        encoders(job.target, job.video_settings)
        video = probe(job.source)
        size, frames, channels, bits = (video.height, video.width), video.frames, 3 + video.alpha, video.depth
    else:
        header = read_header(job.source)
        size, frames, channels, bits = (header.height, header.width), header.frames, header.channels, header.bits
    plan, channels = route(job.settings.size, *size, model.scale), result_channels(model, job.settings, channels)
    if not job.is_video:
        check_fits(job.target, width=plan.size[1], height=plan.size[0], channels=channels, frames=frames)
    return Forecast(size, plan.size, frames, channels, bits, plan.pixels)


@dataclass(frozen=True)
class Estimate:
    """An estimate of what jobs need."""

    seconds: float
    """Computing time of the network. Reading and writing mostly overlap with it."""
    pixels: int
    """Pixels of all results."""
    bytes: int
    """Bytes of all results before compression."""


def estimate(model: Model, jobs: Sequence[tuple[Job, Forecast]], context: Context | None = None) -> Estimate:
    """Estimate what jobs need by upscaling a small image of noise with each of their settings.

    Args:
        model: as in `upscale_frames`.
        jobs: at least one, each with its forecast.
        context: as in `upscale_frames`.

    Raises:
        SpanArchError: the test run fails (see `upscale_frames`).
    """
    forecasts = [expected for _, expected in jobs]
    largest = max((expected.source_size for expected in forecasts), key=math.prod)
    speeds: dict[Settings, float] = {}
    seconds = 0.0
    for job, expected in jobs:
        settings = replace(job.settings, size=None)
        if settings not in speeds:
            speeds[settings] = _seconds_per_pixel(model, settings, largest, context)
        seconds += speeds[settings] * expected.frames * expected.network_pixels
    return Estimate(seconds, sum(expected.pixels for expected in forecasts), sum(expected.bytes for expected in forecasts))


def _seconds_per_pixel(model: Model, settings: Settings, size: Pair, context: Context | None) -> float:
    """Return the best time of a few runs: the first one includes preparations, and other programs may disturb any."""
    image = torch.rand(*(min(side, _TEST_SIDE) for side in size), 3)
    times: list[float] = []
    for _ in range(_TEST_RUNS):
        started = time.perf_counter()
        list(upscale_frames(model, [image], settings, context))
        times.append(time.perf_counter() - started)
    return min(times) / (image.shape[0] * image.shape[1])
