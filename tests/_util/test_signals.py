"""Signals that stop the process."""

from __future__ import annotations

import signal

import pytest

from span_arch._util.process import deferred_interrupt, interruptible


def test_signal_interrupts_at_once_or_where_it_is_checked() -> None:
    def at_once() -> None:
        signal.raise_signal(signal.SIGTERM)

    def deferred() -> None:
        with deferred_interrupt() as check:
            check()
            signal.raise_signal(signal.SIGTERM)
            passed.append(True)
            check()

    passed: list[bool] = []
    before = signal.getsignal(signal.SIGTERM)
    for work in (at_once, deferred):
        with pytest.raises(KeyboardInterrupt), interruptible():
            work()
        assert signal.getsignal(signal.SIGTERM) is before
    assert passed == [True]


def test_second_signal_interrupts_although_it_is_deferred() -> None:
    def twice() -> None:
        with deferred_interrupt():
            for _ in range(2):
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt), interruptible():
        twice()
