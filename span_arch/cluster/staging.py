"""Results of pictures, which lie aside until this process hands them over: once each, however often they were made."""

from __future__ import annotations

import shutil
import uuid
from dataclasses import replace
from pathlib import Path

from .._util.files import check_output, make_folder, move
from ..batch import Job, Outcome
from ..batch.job import check_target, failed


class Staging:
    """A hidden folder beside the targets, in each folder that has some.

    A worker may die after its result is written and before that is known. Its work is done again then, which must neither fail because
    the file is there, nor replace what is not its own. So workers write to a folder that only this run knows, where they may replace
    what they find; what they leave there when they are killed is deleted with it.
    """

    def __init__(self) -> None:
        self._name = f".span-upscale-{uuid.uuid4().hex[:12]}"
        self._jobs: dict[Path, Job] = {}
        self._folders: set[Path] = set()

    def add(self, job: Job) -> Job:
        """The job that a worker is to do instead, anywhere.

        Raises:
            OutputError: the target cannot be written, as far as that can be known.
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
        """Hands over the result of such a job, and tells what became of the job itself."""
        staged, job = outcome.job.target, self._jobs[outcome.job.target]
        try:
            if outcome.state == "done":
                check_output(job.target, overwrite=job.existing == "replace")
                move(staged, job.target)
        except Exception as error:
            return failed(job, error)
        return replace(outcome, job=job)

    def clear(self) -> None:
        """Deletes what was not handed over."""
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
