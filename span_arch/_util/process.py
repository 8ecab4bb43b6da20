"""Every change to state that the whole process shares: torch's threads, the allocator, environment, signals, logging and standard streams.

No other module of the library changes such state. Except where noted, each change lasts as long as its ``with`` block. Threads that run
at the same time see it too, so blocks are kept short.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import warnings
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import torch

KEPT_BY_ALLOCATOR = 32 << 20
"""The largest block, in bytes, that glibc keeps for reuse when it is freed. Larger ones are mapped page by page every time."""


def keep_freed_blocks(device: torch.device) -> None:
    """Make the CPU allocator keep freed blocks of up to `KEPT_BY_ALLOCATOR` bytes. This lasts until the process ends.

    Otherwise every operation maps its result anew. glibc raises its threshold to the size of the largest block freed so far, so one block
    is allocated and freed. It costs nothing because nobody writes to it. Other allocators ignore it.
    """
    if device.type == "cpu":
        torch.empty(KEPT_BY_ALLOCATOR - (1 << 20), dtype=torch.uint8)


def set_torch_threads(count: int) -> None:
    """Set how many threads torch computes with, for the calling thread and for threads started later. This lasts until the next call."""
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
def log_level(level: int, *names: str) -> Generator[None]:
    """Set the level of loggers of other libraries, which report progress as if it were news."""
    before = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(level)
        yield
    finally:
        for name, level_before in before.items():
            logging.getLogger(name).setLevel(level_before)


@contextmanager
def kept_handler(number: signal.Signals) -> Generator[None]:
    """Put a signal's handler back if code within the block, such as ``ray.init``, installs another."""
    before = signal.getsignal(number)
    try:
        yield
    finally:
        if before is not None and signal.getsignal(number) is not before:
            signal.signal(number, before)
