"""How far the work is, on standard error, if that is a terminal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from tqdm import tqdm

from ..batch import Job
from ..engine.progress import Progress, ProgressListener, progress_bar

_SOON = 1.0
"""Seconds after which a file has a bar of its own."""
_LONGEST_NAME = 24


class Bars:
    """A bar over all files, with files per second and the time left; and below it one of the present file, if that takes its time.

    Args:
        files: how many there are; of one alone, there is only its own bar.
        check: called at every step; it may raise what ends all.
    """

    def __init__(self, files: int, check: Callable[[], None]) -> None:
        self._check = check
        self._many = files > 1
        self._files: Any = tqdm(total=files, unit="file", dynamic_ncols=True, disable=None if self._many else True)
        self._job: Job | None = None
        self._inner = ExitStack()
        self._show: ProgressListener | None = None

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self._inner.close()
        self._files.close()

    def __call__(self, progress: Progress) -> None:
        """Show the progress of a job."""
        self._check()
        if progress.item is not self._job or self._show is None:
            self._show = self._begin(progress)
        self._show(progress)

    def tick(self) -> None:
        """Another file is done with."""
        self._files.update()
        self._check()

    def say(self, line: str) -> None:
        """Prints a line on standard output, above the bars."""
        with tqdm.external_write_mode():
            print(line)

    def _begin(self, progress: Progress) -> ProgressListener:
        self._inner.close()
        job: Job = progress.item
        self._job = job
        below: dict[str, Any] = {"position": 1, "delay": _SOON, "desc": job.source.name[:_LONGEST_NAME]} if self._many else {}
        return self._inner.enter_context(progress_bar(progress.frames, disable=None, leave=False, **below))
