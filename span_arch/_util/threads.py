"""Threads that work next to the one that computes."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Barrier, BrokenBarrierError

import torch

from .process import set_torch_threads

_SHARE = 4
"""Torch computes in each helper with this fraction of its threads."""


@contextmanager
def helpers(count: int) -> Generator[ThreadPoolExecutor]:
    """Yield a pool of threads that prepare and finish the work while the caller's thread computes.

    By default torch would use all processors in every thread. A network on the CPU would then wait after each operation for the part that
    another thread displaced. So torch gets few threads in the helpers and keeps its number everywhere else.

    Args:
        count: the number of threads. All are started at once.
    """
    threads, ready = torch.get_num_threads(), Barrier(count + 1)

    def begin() -> None:
        set_torch_threads(max(1, threads // _SHARE))  # threads started later begin with this number too, until it is set back
        with suppress(BrokenBarrierError):
            ready.wait()

    with ThreadPoolExecutor(count, "span-helper", initializer=begin) as pool:
        try:
            for _ in range(count):
                pool.submit(bool)  # starts a thread, because those that wait at the barrier are not idle
            ready.wait()
        except BaseException:
            ready.abort()
            raise
        finally:
            set_torch_threads(threads)
        yield pool
