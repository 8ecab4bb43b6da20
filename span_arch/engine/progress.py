"""How much of the work is done, and that the caller is told."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import Any

from tqdm import tqdm

Progress = Callable[[int, int], None]


class Meter:
    """Counts pixels that the network is shown."""

    def __init__(self, progress: Progress | None, total: int = 0) -> None:
        self._progress = progress
        self.total, self.done = total, 0

    def tell(self) -> None:
        """Tells the caller how far it is; what the caller raises passes through."""
        if self._progress is not None:
            self._progress(self.done, self.total)


@contextlib.contextmanager
def progress_bar(frames: int = 1, **settings: Any) -> Generator[Progress]:
    """A bar on standard error: of the pixels done or, where there are several, the frames; with their number per second and the time left.

    Args:
        frames: how many there are.
        settings: of tqdm.
    """
    unit = {"unit": "frame"} if frames > 1 else {"unit": "px", "unit_scale": True}
    with tqdm(**unit, dynamic_ncols=True, **settings) as bar:

        def progress(done: int, total: int) -> None:
            bar.total, at = (frames, done * frames // max(total, 1)) if frames > 1 else (total, done)
            bar.update(at - bar.n)

        yield progress
