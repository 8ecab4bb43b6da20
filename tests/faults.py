"""Faults that tests make."""

from __future__ import annotations

from collections.abc import Callable


class Stop(BaseException):
    """What a host may raise to cancel."""


def stop_at(call: int) -> Callable[[int, int], None]:
    """A progress that cancels when it is told for so many times."""
    calls: list[int] = []

    def progress(done: int, total: int) -> None:
        calls.append(done)
        if len(calls) == call:
            raise Stop

    return progress
