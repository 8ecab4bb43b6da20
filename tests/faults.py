"""Faults for tests to inject."""

from __future__ import annotations

from collections.abc import Callable

from span_arch import Progress


class Stop(BaseException):
    """An exception that a host may raise to cancel."""


def stop_at(call: int) -> Callable[[Progress], None]:
    """Return a progress listener that cancels at a certain call."""
    calls: list[Progress] = []

    def listen(progress: Progress) -> None:
        calls.append(progress)
        if len(calls) == call:
            raise Stop

    return listen
