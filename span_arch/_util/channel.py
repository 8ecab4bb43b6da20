"""A short queue from one thread to another."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """Passes things on in their order; whoever is too quick waits."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._things: deque[T] = deque()
        self._change = Condition()
        self._finished = False
        self._error: BaseException | None = None
        self._failed = False

    def put(self, thing: T) -> None:
        """Adds a thing as soon as there is room.

        Raises:
            BaseException: what `fail` was told.
        """
        with self._change:
            self._change.wait_for(lambda: self._failed or len(self._things) < self._capacity)
            self._raise(self._failed)
            self._things.append(thing)
            self._change.notify_all()

    def finish(self, error: BaseException | None = None) -> None:
        """Nothing comes after what is there; but the error, if there is one."""
        with self._change:
            self._finished, self._error = True, self._error or error
            self._change.notify_all()

    def fail(self, error: BaseException) -> None:
        """Ends both sides at once, with this error; what is there is dropped."""
        with self._change:
            self._failed, self._error = True, self._error or error
            self._change.notify_all()

    def __iter__(self) -> Iterator[T]:
        """All things until the end.

        Raises:
            BaseException: what `finish` or `fail` was told.
        """
        while True:
            with self._change:
                self._change.wait_for(lambda: self._failed or self._finished or bool(self._things))
                self._raise(self._failed or not self._things)
                if not self._things:
                    return
                thing = self._things.popleft()
                self._change.notify_all()
            yield thing

    def _raise(self, now: bool) -> None:
        if now and self._error is not None:
            raise self._error
