"""``span-upscale --dry-run``: print sizes and the expected time, and write nothing."""

from __future__ import annotations

from collections.abc import Sequence

from ..batch import Forecast, Job, estimate, forecast
from ..batch.job import describe_sizes
from ..engine.context import Context
from ..errors import SpanArchError
from ..models.build import Model


def print_forecast(model: Model, jobs: Sequence[Job], context: Context) -> list[tuple[Job, SpanArchError]]:
    """Print the sizes of each job and the time for all jobs. Write no file.

    Returns:
        The jobs that would fail, with their errors, as far as file headers show.
    """
    planned: list[tuple[Job, Forecast]] = []
    failing: list[tuple[Job, SpanArchError]] = []
    for job in jobs:
        try:
            expected = forecast(model, job)
        except SpanArchError as error:
            failing.append((job, error))
            continue
        if expected is not None:
            planned.append((job, expected))
        sizes = expected and describe_sizes(expected.frames, expected.source_size, expected.result_size)
        print(f"{job.source} -> {job.target}: {sizes or 'skipped because it exists'}")
    if planned:
        total = estimate(model, planned, context)
        print(
            f"{len(planned)} to upscale: {total.pixels / 1e6:,.1f} megapixels, {total.bytes / 1e6:,.1f} MB before compression. "
            f"Estimated from a short run on {context.device_for(model)}: {_duration(total.seconds)}."
        )
    return failing


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
