"""Upscale files for ``span-upscale``: run the jobs, show their progress and print their outcomes."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from .._util.memory import best_device
from .._util.process import deferred_interrupt
from .._util.text import first_line
from ..batch import Found, Job, Outcome, default_codec, upscale_jobs
from ..cluster import upscale_on_ray
from ..engine.context import Context
from ..engine.report import Report
from ..engine.settings import Settings
from ..errors import OptionError
from ..models.build import Model
from ..video import VideoSettings
from .dry_run import print_forecast
from .exit_codes import ExitCode
from .progress_bars import ProgressBars

Upscale = Callable[[Model, Sequence[Job], Context], Generator[Outcome]]
_Started = tuple[ProgressBars, Generator[Outcome]]


def upscale_files(options: argparse.Namespace, settings: Settings, found: Found, model: Model, *, upscale: Upscale = upscale_jobs) -> int:
    """Upscale the files and return the exit code. `upscale` runs jobs on this machine.

    Raises:
        OptionError: the device is not available.
        SpanArchError: the only file failed.
    """
    existing = "skip" if options.resume and options.existing == "keep" else options.existing
    jobs = [
        Job(source, target, settings, options.quality, _video_settings(options, target), existing, options.resume, found.folder)
        for source, target in found.pairs
    ]
    reports = list[Report]()
    context = Context(best_device() if options.device is None else _device(options.device), report=reports.append)
    if options.dry_run:
        return _dry_run(model, jobs, found, context, verbose=options.verbose)
    started = _started(model, jobs, context, options.ray, upscale)
    return _upscale_all(jobs, started, found, verbose=options.verbose) if found.folder else _upscale_one(jobs[0], started, reports)


@contextmanager
def _started(model: Model, jobs: Sequence[Job], context: Context, ray: str | None, upscale: Upscale) -> Generator[_Started]:
    """Start the jobs on this machine or, if `ray` is an address, on a cluster."""
    with ExitStack() as stack:
        # A cluster may be waited for at any point, so a signal interrupts it at once. Here, it first lets the helper threads end.
        check = stack.enter_context(deferred_interrupt()) if ray is None else None
        bars = stack.enter_context(ProgressBars(len(jobs), check))
        here = replace(context, progress=bars.show)
        outcomes = upscale(model, jobs, here) if ray is None else upscale_on_ray(model, jobs, address=ray)
        yield bars, stack.enter_context(closing(outcomes))


def _upscale_one(job: Job, started: AbstractContextManager[_Started], reports: Sequence[Report]) -> int:
    with started as (_, stream):
        (outcome,) = stream
    if outcome.error is not None:
        raise outcome.error
    print(f"{job.target}: {' '.join([str(reports[0]), *outcome.notes])}" if reports else outcome)
    return ExitCode.DONE


def _upscale_all(jobs: Sequence[Job], started: AbstractContextManager[_Started], found: Found, *, verbose: bool) -> int:
    outcomes: list[Outcome] = []
    begin, stopped = time.perf_counter(), False
    try:
        with started as (bars, stream):
            for outcome in stream:
                outcomes.append(outcome)
                bars.finish_file()
                if verbose and outcome.error is None:
                    bars.print(str(outcome))
    except KeyboardInterrupt:
        stopped = True
    _print_summary(outcomes, found, time.perf_counter() - begin, verbose=verbose)
    left = len(jobs) - len(outcomes)
    if stopped:
        print(f"span-upscale: stopped; finished files are kept, and {left} of {len(jobs)} files are left.", file=sys.stderr)
    elif left:
        print(f"span-upscale: the disk is full; {left} of {len(jobs)} files were not tried.", file=sys.stderr)
    code = _print_failures([str(outcome) for outcome in outcomes if outcome.error is not None], found)
    return ExitCode.STOPPED if stopped else code


def _dry_run(model: Model, jobs: Sequence[Job], found: Found, context: Context, *, verbose: bool) -> int:
    failing = print_forecast(model, jobs, context)
    if failing and not found.folder:
        raise failing[0][1]
    _print_ignored(found, verbose=verbose)
    return _print_failures([f"{job.source}: {error}" for job, error in failing], found)


def _print_summary(outcomes: Sequence[Outcome], found: Found, seconds: float, *, verbose: bool) -> None:
    counts = Counter(outcome.state for outcome in outcomes)
    parts = [f"{counts[state]} {state}" for state in ("done", "skipped", "failed") if counts[state] or state == "done"]
    speed = f" ({counts['done'] / seconds:.1f} files/s)" if counts["done"] else ""
    print(f"{', '.join(parts)} in {seconds:.1f} s{speed}.")
    _print_ignored(found, verbose=verbose)


def _print_ignored(found: Found, *, verbose: bool) -> None:
    if verbose:
        for path in found.ignored:
            print(f"{path}: ignored because it is not an image or a video.")
    elif found.ignored:
        print(f"Ignored files of other kinds: {len(found.ignored)} (-v names them).")


def _print_failures(failures: Sequence[str], found: Found) -> ExitCode:
    """Print what failed, with the reasons, and return the exit code."""
    lines = [*map(str, found.errors), *failures]
    if not lines:
        return ExitCode.DONE
    print("\n  ".join([f"span-upscale: {len(lines)} failed:", *lines]), file=sys.stderr)
    return ExitCode.SOME_FAILED


def _video_settings(options: argparse.Namespace, target: Path) -> VideoSettings:
    return VideoSettings(options.codec or default_codec(target), options.video_quality, options.preset, options.pixel_format)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        raise OptionError(
            f"The device {name} is not available here ({first_line(error)}). Leave --device out for the best device."
        ) from None
    return device
