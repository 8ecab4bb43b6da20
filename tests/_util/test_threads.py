"""Threads beside the one that computes."""

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


def counted_in_a_new_thread() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def test_torch_has_few_processors_in_helpers_and_elsewhere_as_many_as_before(threads: int) -> None:
    with helpers(2) as pool:
        together = threading.Barrier(2)

        def count() -> int:
            together.wait(10)  # so that each of them has to answer
            return torch.get_num_threads()

        found: list[Future[int]] = [pool.submit(count) for _ in range(2)]
        assert [one.result() for one in found] == [max(1, threads // 4)] * 2
        assert torch.get_num_threads() == counted_in_a_new_thread() == threads
    assert torch.get_num_threads() == counted_in_a_new_thread() == threads


def test_an_interrupt_while_they_begin_leaves_none_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, running = torch.get_num_threads(), threading.active_count()

    class Interrupted(threading.Barrier):
        def wait(self, timeout: float | None = None) -> int:
            if threading.current_thread() is threading.main_thread():
                raise KeyboardInterrupt
            return super().wait(timeout)

    monkeypatch.setattr("span_arch._util.threads.Barrier", Interrupted)
    with pytest.raises(KeyboardInterrupt), helpers(2):
        pass
    assert threading.active_count() == running
    assert torch.get_num_threads() == threads
