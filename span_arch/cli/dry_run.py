"""``span-upscale --dry-run``."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..batch import Foresight, Job, estimate, foresee
from ..engine.context import Context
from ..errors import SpanArchError
from ..models.build import FamilyModel


def tell_what_would_be_done(model: FamilyModel, jobs: Sequence[Job], device: torch.device) -> list[tuple[Job, SpanArchError]]:
    """Prints each job with the sizes before and after, and what all will take; nothing is written.

    Returns:
        The jobs that would fail, as far as that can be known.
    """
    known: list[tuple[Job, Foresight]] = []
    failing: list[tuple[Job, SpanArchError]] = []
    for job in jobs:
        try:
            if (seen := foresee(model, job)) is None:
                print(f"{job.source} -> {job.target}: skipped, it is there already.")
                continue
        except SpanArchError as error:
            failing.append((job, error))
            continue
        known.append((job, seen))
        print(f"{job.source} -> {job.target}: {_line(seen)}")
    if known:
        whole = estimate(model, known, Context(device=device))
        print(
            f"{len(known)} to upscale: {whole.pixels / 1e6:,.1f} megapixels, {whole.bytes / 1e6:,.1f} MB before they are compressed. "
            f"Estimated from a short run on {device}: {_time(whole.seconds)}."
        )
    return failing


def _line(seen: Foresight) -> str:
    many = f"{seen.frames} x " if seen.frames != 1 else ""
    return f"{many}{seen.before[1]}x{seen.before[0]} to {seen.after[1]}x{seen.after[0]}"


def _time(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
