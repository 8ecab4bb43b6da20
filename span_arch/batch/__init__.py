"""Many files, upscaled one after the other: pictures, animations and videos.

    from span_arch import load
    from span_arch.batch import Job, find, upscale_jobs

    found = find(["photos"], "large", recursive=True)
    jobs = [Job(source, target, make_folder=True) for source, target in found.pairs]
    for outcome in upscale_jobs(load("spanx4_ch48"), jobs):
        print(outcome)

Jobs and outcomes can be pickled; `run_job` does one job with a model that is loaded already.
"""

from .estimate import Estimate, estimate
from .find import Found, find
from .inspect_inputs import Foresight, foresee
from .job import Job, Outcome
from .kinds import Formats, default_codec, formats_of
from .run import run_job, upscale_jobs

__all__ = [
    "Estimate",
    "Foresight",
    "Formats",
    "Found",
    "Job",
    "Outcome",
    "default_codec",
    "estimate",
    "find",
    "foresee",
    "formats_of",
    "run_job",
    "upscale_jobs",
]
