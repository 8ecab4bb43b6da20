"""The progress event, the meter that sends it, and a progress bar that shows it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from tqdm import tqdm


def _no_preview() -> Tensor | None:
    return None


@dataclass(frozen=True)
class Progress:
    """The progress of a run. All code that reports or shows progress uses this one event."""

    frame: int
    """Frames that are finished."""
    fraction: float
    """How much of the next frame is finished, from 0 to 1."""
    frames: int | None = None
    """Frames in all; None if that is unknown."""
    item: Any = None
    """The job that the frames belong to, in a batch of files."""
    preview: Callable[[], Tensor | None] = _no_preview
    """Returns a small copy of the result so far, (h, w, C) in 0..1, or None if there is nothing to see yet."""

    @property
    def done(self) -> float:
        """The finished share of all frames, from 0 to 1; 0 if their number is unknown."""
        return min(1.0, (self.frame + self.fraction) / self.frames) if self.frames else 0.0


ProgressListener = Callable[[Progress], None]
"""Receives progress events. An exception that it raises ends the run and reaches the caller."""


class Meter:
    """A counter of the pixels that a network has processed, which reports progress. ``frames`` and ``preview`` are as in `Progress`."""

    def __init__(
        self, listener: ProgressListener | None, frames: int | None = None, preview: Callable[[], Tensor | None] | None = None
    ) -> None:
        self._listener, self._frames, self._preview = listener, frames, preview or _no_preview
        self._finished = self._group = 0
        self._pixels = 1
        self.done = 0
        """Pixels of the present group that are finished."""

    def begin(self, group: int, pixels: int) -> None:
        """Start a group of frames with this number of pixels, summed over all passes."""
        self._finished += self._group
        self._group, self._pixels, self.done = group, max(1, pixels), 0

    def report(self) -> None:
        """Report the present state. Exceptions of the listener pass through."""
        if self._listener is None:
            return
        position = self._group * self.done / self._pixels
        whole = min(int(position), self._group)
        self._listener(Progress(self._finished + whole, position - whole, self._frames, preview=self._preview))


@contextlib.contextmanager
def progress_bar(frames: int | None = None, **options: Any) -> Generator[ProgressListener]:
    """Show a bar on standard error: in frames, with their rate and the time left, or in per cent of a single image."""
    one = frames == 1
    style = {"total": 100, "unit": "%"} if one else {"total": frames, "unit": "frame"}
    with tqdm(**style, dynamic_ncols=True, **options) as bar:

        def listen(progress: Progress) -> None:
            bar.update((round(100 * progress.done) if one else progress.frame) - bar.n)

        yield listen
