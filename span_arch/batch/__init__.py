"""Upscale many files one after the other: images, animations and videos.

    from span_arch import load
    from span_arch.batch import Job, find, upscale_jobs

    found = find(["photos"], "large", recursive=True)
    jobs = [Job(source, target, make_folder=True) for source, target in found.pairs]
    for outcome in upscale_jobs(load("spanx4_ch48"), jobs):
        print(outcome)

Jobs and outcomes can be pickled. `run_job` runs a single job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._util.lazy import lazy_names

if TYPE_CHECKING:
    from .file_kinds import Formats, default_codec, parse_formats
    from .find_inputs import Found, find
    from .inspect_inputs import Estimate, Forecast, estimate, forecast
    from .job import Job, Outcome
    from .run_jobs import run_job, upscale_jobs

__all__ = [
    "Estimate",
    "Forecast",
    "Formats",
    "Found",
    "Job",
    "Outcome",
    "default_codec",
    "estimate",
    "find",
    "forecast",
    "parse_formats",
    "run_job",
    "upscale_jobs",
]

__getattr__ = lazy_names(
    __name__,
    {
        ".file_kinds": ("Formats", "default_codec", "parse_formats"),
        ".find_inputs": ("Found", "find"),
        ".inspect_inputs": ("Estimate", "Forecast", "estimate", "forecast"),
        ".job": ("Job", "Outcome"),
        ".run_jobs": ("run_job", "upscale_jobs"),
    },
)
