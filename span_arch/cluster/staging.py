"""A hidden folder for the results of images, so that each result is moved to its target once, even if several workers made it."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from .._util.files import check_output, make_folder, move
from ..batch import Job, Outcome
from ..batch.job import check_target, failed

_ATTEMPTS = 20
"""How often a folder is deleted until it stays away."""


class Staging:
    """Hidden folders next to the targets, used as a context manager that deletes them at the end.

    A worker may die after it has written a result and before it reports it. Its work is then repeated. The repeat must neither fail because
    the file exists nor replace the file of another program. Workers therefore write to a folder that only this run knows, and may replace
    files there. Files that killed workers leave behind are deleted with the folder.
    """

    def __init__(self, move: Callable[[Path, Path], None] = move) -> None:
        self._name = f".span-upscale-{uuid.uuid4().hex[:12]}"
        self._move = move
        self._jobs: dict[Path, Job] = {}
        """The original jobs by their staged targets."""
        self._folders: set[Path] = set()

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *_: object) -> None:
        for folder in self._folders:
            for _attempt in range(_ATTEMPTS):  # a worker on its way out may still create a file meanwhile
                shutil.rmtree(folder, ignore_errors=True)
                if not folder.exists():
                    break
                time.sleep(0.1)

    def add(self, job: Job) -> Job:
        """Return the job for a worker to do instead, with absolute paths and a staged target.

        Raises:
            OutputError: the target cannot be written.
        """
        check_target(job)
        target = job.target.absolute()
        folder = target.parent / self._name
        if folder not in self._folders:
            make_folder(folder)
            self._folders.add(folder)
        self._jobs[folder / target.name] = job
        return replace(job, source=job.source.absolute(), target=folder / target.name, existing="replace", make_folder=False)

    def take(self, outcome: Outcome) -> Outcome:
        """Move the result of a staged job to its target, and return the outcome of the original job."""
        staged, job = outcome.job.target, self._jobs[outcome.job.target]
        try:
            if outcome.state == "done":
                check_output(job.target, overwrite=job.overwrite)
                self._move(staged, job.target)
        except Exception as error:
            return failed(job, error)
        return replace(outcome, job=job)
