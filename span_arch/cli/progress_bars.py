"""Progress bars on standard error, shown if that is a terminal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from tqdm import tqdm

from ..batch import Job
from ..engine.progress import Progress, ProgressListener, progress_bar

_DELAY = 1.0
"""Seconds after which a file among several gets a bar of its own."""
_LONGEST_NAME = 24


class ProgressBars:
    """A bar over all files, with their rate and the time left, and below it a bar for the present file if that takes long.

    Args:
        files: how many files there are. For a single one, only its own bar is shown.
        check: is called with every event, and may raise an exception to end the run.
    """

    def __init__(self, files: int, check: Callable[[], None] | None = None) -> None:
        self._check = check or (lambda: None)
        self._several = files > 1
        self._files: Any = tqdm(total=files, unit="file", dynamic_ncols=True, disable=None if self._several else True)
        self._job: Job | None = None
        self._job_bar = ExitStack()
        self._show_job: ProgressListener | None = None

    def __enter__(self) -> ProgressBars:
        return self

    def __exit__(self, *_: object) -> None:
        self._job_bar.close()
        self._files.close()

    def show(self, progress: Progress) -> None:
        """Show the progress of a job."""
        self._check()
        if self._show_job is None or progress.item is not self._job:
            self._job_bar.close()
            self._job = job = progress.item
            options = {"position": 1, "delay": _DELAY, "desc": job.source.name[:_LONGEST_NAME]} if self._several else {}
            self._show_job = self._job_bar.enter_context(progress_bar(progress.frames, disable=None, leave=False, **options))
        self._show_job(progress)

    def finish_file(self) -> None:
        """Count a file as finished."""
        self._files.update()
        self._check()

    def print(self, line: str) -> None:
        """Print a line on standard output, above the bars."""
        with tqdm.external_write_mode():
            print(line)
