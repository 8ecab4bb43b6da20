"""Helper threads leave the processors to the thread that computes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest
import torch

from span_arch._util.threads import helpers


@pytest.fixture(params=[1, 4, 8])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def torch_threads_in_a_new_thread() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def test_torch_has_fewer_threads_in_helpers_and_the_same_number_elsewhere(threads: int) -> None:
    with helpers(2) as pool:
        together = threading.Barrier(2)

        def count() -> int:
            together.wait(10)  # each helper has to answer once
            return torch.get_num_threads()

        found: list[Future[int]] = [pool.submit(count) for _ in range(2)]
        assert [future.result() for future in found] == [max(1, threads // 4)] * 2
        assert torch.get_num_threads() == torch_threads_in_a_new_thread() == threads
    assert torch.get_num_threads() == torch_threads_in_a_new_thread() == threads


def test_interrupt_during_the_start_leaves_no_thread_and_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, running = torch.get_num_threads(), threading.active_count()
    wait = threading.Barrier.wait

    def interrupted(barrier: threading.Barrier, timeout: float | None = None) -> int:
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        return wait(barrier, timeout)

    monkeypatch.setattr(threading.Barrier, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt), helpers(2):
        pass
    assert threading.active_count() == running
    assert torch.get_num_threads() == threads
