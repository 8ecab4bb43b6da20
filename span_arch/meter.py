"""How much of the work is done, and that the caller is told."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]


class Meter:
    """Counts pixels of the input."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._progress = total, progress
        self.done = 0

    def tell(self) -> None:
        """Tells the caller how far it is; what the caller raises passes through."""
        if self._progress is not None:
            self._progress(self.done, self._total)
