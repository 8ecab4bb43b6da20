"""A short queue between two threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from threading import Condition
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """A queue of limited length. Items keep their order, and the faster side waits for the slower one."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._change = Condition()
        self._finished = False
        self._error: BaseException | None = None
        self._failed = False

    def put(self, item: T) -> None:
        """Add an item as soon as there is room.

        Raises:
            BaseException: the error passed to `fail`.
        """
        with self._change:
            self._change.wait_for(lambda: self._failed or len(self._items) < self._capacity)
            self._raise_if(self._failed)
            self._items.append(item)
            self._change.notify_all()

    def finish(self, error: BaseException | None = None) -> None:
        """End the items. The reader still gets the queued ones, then the error if one is given."""
        with self._change:
            self._finished, self._error = True, self._error or error
            self._change.notify_all()

    def fail(self, error: BaseException) -> None:
        """Stop both sides at once with an error, and drop the queued items."""
        with self._change:
            self._failed, self._error = True, self._error or error
            self._change.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Yield all items until the end.

        Raises:
            BaseException: the error passed to `finish` or `fail`.
        """
        while True:
            with self._change:
                self._change.wait_for(lambda: self._failed or self._finished or bool(self._items))
                self._raise_if(self._failed or not self._items)
                if not self._items:
                    return
                item = self._items.popleft()
                self._change.notify_all()
            yield item

    def _raise_if(self, ended: bool) -> None:
        if ended and self._error is not None:
            raise self._error
