"""Ctrl+C, and the signal by which others end a program."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stoppable() -> Generator[None]:
    """Within the block, either signal raises `KeyboardInterrupt`, once; those that follow are passed over, so that cleaning up ends."""

    def stop(*_: object) -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before: dict[int, Any] = {}
    with _handled(stop, before):
        yield


@contextmanager
def patient() -> Generator[Callable[[], None]]:
    """Within a block that is `stoppable`, a signal is kept for a moment that suits: when what is yielded is called, it raises.

    So threads are never left to themselves, wherever the main one was. For a moment that does not come there is a second signal.
    """
    caught = False

    def keep(*_: object) -> None:
        nonlocal caught
        if caught:
            check()
        caught = True

    def check() -> None:
        if caught:
            for number in before:
                signal.signal(number, signal.SIG_IGN)
            raise KeyboardInterrupt

    before: dict[int, Any] = {}
    with _handled(keep, before):
        yield check


@contextmanager
def _handled(handler: Callable[..., None], before: dict[int, Any]) -> Generator[None]:
    """Within the block, signals are handled so; ``before`` has what they did before.

    A signal that whoever started the program has it ignore stays ignored. In other threads than the main one, nothing changes.
    """
    if threading.current_thread() is threading.main_thread():
        before.update({number: signal.getsignal(number) for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN})
    try:
        for number in before:
            signal.signal(number, handler)
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)
