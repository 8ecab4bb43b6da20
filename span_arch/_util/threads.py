"""Threads beside the one that computes."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Barrier, BrokenBarrierError

import torch

_SHARE = 4
"""Torch has this part of its processors in each of them."""


@contextmanager
def helpers(count: int) -> Generator[ThreadPoolExecutor]:
    """Threads that prepare and finish what the caller's thread computes meanwhile.

    In each thread torch would take all processors, as if it were alone. Then a network on the CPU waits, after every operation, for that
    part of itself which another thread had pushed aside. So torch gets few in these; in all other threads it has what it had.

    Args:
        count: of threads. All are there at once.
    """
    threads, ready = torch.get_num_threads(), Barrier(count + 1)

    def begin() -> None:
        torch.get_num_threads()  # else torch would begin with this thread later on, and forget what is said now
        torch.set_num_threads(max(1, threads // _SHARE))  # which is what threads to come begin with, too
        with suppress(BrokenBarrierError):
            ready.wait()

    with ThreadPoolExecutor(count, "span-helper", initializer=begin) as pool:
        try:
            for _ in range(count):
                pool.submit(bool)  # has a thread made, since those that wait in the barrier are not idle
            ready.wait()
        except BaseException:
            ready.abort()
            raise
        finally:
            torch.set_num_threads(threads)
        yield pool
