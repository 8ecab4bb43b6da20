"""Where the values of a plan lie in memory, so that few places do for many values, and how much memory that is."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from .operations import Convolution, Image, Pointwise, Shuffle
from .plan import Plan, Value

Home = int | Literal["torch", "own"]
"""The number of a place that values share, or that torch makes a tensor anew, or that the value stays where it is."""


@dataclass(frozen=True)
class Layout:
    """The memory of a plan at work on strips of one size."""

    homes: tuple[Home, ...]
    """Of every value."""
    places: tuple[int, ...]
    """Bytes of every place."""
    own: tuple[int, ...]
    """Of every value, the strips that it has room for in a place of its own; 0 if it has none."""
    kept: int
    """Bytes that stay from strip to strip."""
    passing: int
    """Bytes that torch holds at the most in tensors that it makes anew."""

    @property
    def bytes(self) -> int:
        """In all, weights and output aside. What passes counts twice: allocators hold on to what was freed, in pieces."""
        return sum(self.places) + self.kept + 2 * self.passing


def lay_out(plan: Plan, strip: int, width: int, wide: int, narrow: int) -> Layout:
    """Gives every value a place.

    Args:
        plan: of a network.
        strip: rows of the image in a strip.
        width: columns of the image.
        wide: bytes of a number of a wide value.
        narrow: bytes of a number of a narrow value.
    """
    sizes = [narrow if value.narrow else wide for value in plan.values]
    return _Desk([_Need.of(value, strip, width, size) for value, size in zip(plan.values, sizes, strict=True)]).layout(plan)


@dataclass(frozen=True)
class _Need:
    """Bytes that a value takes."""

    strip: int
    kept: int
    own: int

    @staticmethod
    def of(value: Value, strip: int, width: int, size: int) -> _Need:
        row, rows = int(width * value.rate) * value.channels * size, value.rows(strip)
        # What is to wait for long would be copied to its place and back for every strip. In a place of its own it is moved on only
        # when the end is reached, by at least as many rows as are moved.
        own = max(2, math.ceil(value.kept / rows)) if 2 * value.kept > rows else 0
        return _Need(row * rows, row * value.kept, own)

    @property
    def area(self) -> int:
        """A strip below the rows that are kept."""
        return self.strip + self.kept


@dataclass
class _Desk:
    """Places in use and free, while a strip goes through the operations."""

    needs: list[_Need]
    homes: list[Home] = field(default_factory=list[Home])
    places: list[int] = field(default_factory=list[int])
    free: set[int] = field(default_factory=set[int])

    def layout(self, plan: Plan) -> Layout:
        passing = most = 0
        for number, value in enumerate(plan.values):
            over = overwritten(plan, number)
            home: Home = "torch"
            if self.needs[number].own:
                home = "own"
            elif over is not None:
                home = self.homes[over]
            elif value.kept or not _made_by_torch(value):
                home = self._place(self.needs[number].area)
            self.homes.append(home)
            if (home == "torch" and over is None) or isinstance(value.operation, (Convolution, Shuffle)):
                most = max(most, passing + self.needs[number].strip * _tensors(value))
            if home == "torch" and over is None:
                passing += self.needs[number].strip
            for read in set(value.operation.reads):
                if plan.values[read].last_reader == number and read != over:
                    place = self.homes[read]
                    if place == "torch":
                        passing -= self.needs[read].strip
                    elif place != "own":
                        self.free.add(place)
        own = tuple(need.own for need in self.needs)
        kept = sum(need.kept + need.own * need.strip for need in self.needs)
        return Layout(tuple(self.homes), tuple(self.places), own, kept, most)

    def _place(self, size: int) -> int:
        """The free place that fits best, which grows if it must; a new one if there is none."""
        if not self.free:
            self.places.append(size)
            return len(self.places) - 1
        best = min(self.free, key=lambda place: abs(self.places[place] - size))
        self.free.remove(best)
        self.places[best] = max(self.places[best], size)
        return best


def overwritten(plan: Plan, number: int) -> int | None:
    """The value whose memory an operation may give its result, as it reads it last; None if there is none."""
    value = plan.values[number]
    if value.kept or not isinstance(value.operation, Pointwise):
        return None
    for read in value.operation.reads:
        old = plan.values[read]
        if (
            old.last_reader == number
            and not old.kept
            and not isinstance(old.operation, Image)  # which may be the caller's
            and (old.channels, old.narrow) == (value.channels, value.narrow)
        ):
            return read
    return None


def _made_by_torch(value: Value) -> bool:
    return isinstance(value.operation, (Image, Convolution, Shuffle))


def _tensors(value: Value) -> int:
    """How many tensors of a value's size there are while it is made: a sum's next term comes before it is added."""
    return 2 if isinstance(value.operation, Convolution) and len(value.operation.terms) > 1 else 1
