"""Every change to state that the whole process shares: torch's threads, the allocator, environment, signals, logging and standard streams.

No other module of the library changes such state. Except where noted, each change lasts as long as its ``with`` block. Threads that run
at the same time see it too, so blocks are kept short. The functions for torch import it, because the command line handles signals first.
"""

from __future__ import annotations

import gc
import io
import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

KEPT_BY_ALLOCATOR = 32 << 20
"""The largest block, in bytes, that glibc keeps for reuse when it is freed. Larger ones are mapped page by page every time."""

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def keep_freed_blocks(device: torch.device) -> None:
    """Make the CPU allocator keep freed blocks of up to `KEPT_BY_ALLOCATOR` bytes. This lasts until the process ends.

    Otherwise every operation would map new memory for its result. glibc keeps freed blocks up to the size of the largest one so far, so
    this allocates and frees one such block. Its pages are never touched, so it costs nothing. It has no effect on other allocators.
    """
    if device.type == "cpu":
        import torch

        torch.empty(KEPT_BY_ALLOCATOR - (1 << 20), dtype=torch.uint8)


def set_torch_threads(count: int) -> None:
    """Set how many threads torch computes with, for the calling thread and for threads started later. This lasts until the next call."""
    import torch

    torch.get_num_threads()  # the first call in a thread resets its count, so it has to come before the count is set
    torch.set_num_threads(count)


def set_default_variable(name: str, value: str) -> None:
    """Set an environment variable that the user has not set, for native code that reads its options there. This lasts."""
    os.environ.setdefault(name, value)


@contextmanager
def default_variable(name: str, value: str) -> Generator[None]:
    """Set an environment variable that the user has not set, for code that starts within the block."""
    is_set = name in os.environ
    os.environ.setdefault(name, value)
    try:
        yield
    finally:
        if not is_set:
            os.environ.pop(name, None)


@contextmanager
def discarded_stderr() -> Generator[None]:
    """Point file descriptor 2 to the null device, for native code that writes past ``sys.stderr``."""
    standard_error = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as null:
            os.dup2(null.fileno(), 2)
        yield
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)


@contextmanager
def discarded_stdout() -> Generator[None]:
    """Discard what Python code prints."""
    with redirect_stdout(io.StringIO()):
        yield


@contextmanager
def ignored_warnings() -> Generator[None]:
    """Ignore Python warnings, for libraries that warn of what the caller handles anyway."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def paused_collection() -> Generator[None]:
    """Import large packages without garbage collection, which would search their objects again and again, and find nothing.

    Afterwards no collection searches what exists by then. This lasts, so it is for programs and not for libraries.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


@contextmanager
def log_level(level: int, *loggers: str | logging.Logger) -> Generator[None]:
    """Set the level of loggers of other libraries, which report progress as if it were news."""
    found = [logging.getLogger(logger) if isinstance(logger, str) else logger for logger in loggers]
    before = [logger.level for logger in found]
    try:
        for logger in found:
            logger.setLevel(level)
        yield
    finally:
        for logger, level_before in zip(found, before, strict=True):
            logger.setLevel(level_before)


@contextmanager
def kept_handler(number: signal.Signals) -> Generator[None]:
    """Put a signal's handler back if code within the block, such as ``ray.init``, installs another."""
    before = signal.getsignal(number)
    try:
        yield
    finally:
        if before is not None and signal.getsignal(number) is not before:
            signal.signal(number, before)


@contextmanager
def interruptible() -> Generator[None]:
    """Raise `KeyboardInterrupt` at the first SIGINT or SIGTERM. Later signals are ignored, so that the clean-up can finish."""
    with _stop_handler(_interrupt):
        yield


@contextmanager
def deferred_interrupt() -> Generator[Callable[[], None]]:
    """Within an `interruptible` block, hold the first signal back until the yielded function is called, which then raises.

    So the main thread is never interrupted where it would leave helper threads behind. A second signal interrupts at once.
    """
    caught = False

    def remember(*_: object) -> None:
        nonlocal caught
        if caught:
            _interrupt()
        caught = True

    def check() -> None:
        if caught:
            _interrupt()

    with _stop_handler(remember):
        yield check


def _interrupt(*_: object) -> None:
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def _stop_handler(handler: Callable[..., None]) -> Generator[None]:
    """Handle the stop signals. One that the parent process had ignored stays ignored. Only the main thread can handle signals."""
    before = {number: signal.getsignal(number) for number in _STOP_SIGNALS if threading.current_thread() is threading.main_thread()}
    before = {number: handler_before for number, handler_before in before.items() if handler_before is not signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, handler)
        yield
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)
