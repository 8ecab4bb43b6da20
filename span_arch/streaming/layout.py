"""The memory of a plan: many values share few places."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .operations import Convolution, Image, Pointwise, Shuffle
from .plan import Plan, Value


@dataclass(frozen=True)
class Home:
    """The place of a value's rows in memory. torch allocates them if there is neither a place nor room for strips of its own."""

    place: int | None = None
    """The number of a place that several values share."""
    own: int = 0
    """The strips that its own memory has room for."""
    over: int | None = None
    """The value that it overwrites."""


@dataclass(frozen=True)
class Layout:
    """The memory of a plan at work on strips of one size."""

    homes: tuple[Home, ...]
    """One for each value."""
    places: tuple[int, ...]
    """The bytes of every place."""
    kept: int
    """Bytes that stay from strip to strip."""
    passing: int
    """The most bytes that torch holds at a time in tensors that it allocates."""

    @property
    def bytes(self) -> int:
        """All bytes but those of weights and output. Passing ones count twice, since allocators keep what was freed in pieces."""
        return sum(self.places) + self.kept + 2 * self.passing


def lay_out(plan: Plan, strip: int, width: int, wide: int, narrow: int) -> Layout:
    """Give every value a home.

    Args:
        plan: of a network.
        strip: rows of the image in a strip.
        width: columns of the image.
        wide: bytes of a number of a wide value.
        narrow: bytes of a number of a narrow value.
    """
    homes: list[Home] = []
    places: list[int] = []
    free: set[int] = set()
    sizes: list[int] = []  # bytes of the rows of a strip, for every value
    passing = most = kept = 0
    for number, value in enumerate(plan.values):
        row = int(width * value.rate) * value.channels * (narrow if value.narrow else wide)
        size = row * value.rows(strip)
        sizes.append(size)
        home = _home(plan, number, value.rows(strip), homes)
        kept += row * value.kept + home.own * size
        if home.over is None and not home.own and (value.kept or not _allocated_by_torch(value)):
            home = Home(_take(free, places, size + row * value.kept))
        homes.append(home)
        fresh = home == Home()
        if fresh or isinstance(value.operation, (Convolution, Shuffle)):
            # The next term of a sum is computed before it is added
            tensors = 2 if isinstance(value.operation, Convolution) and len(value.operation.reads) > 1 else 1
            most = max(most, passing + tensors * size)
        passing += size * fresh
        for read in set(value.operation.reads) - {home.over}:
            if plan.values[read].last_reader == number and not homes[read].own:
                place = homes[read].place
                if place is None:
                    passing -= sizes[read]
                else:
                    free.add(place)
    return Layout(tuple(homes), tuple(places), kept, most)


def _home(plan: Plan, number: int, rows: int, homes: list[Home]) -> Home:
    """Return memory of its own for a value that keeps many rows, or the home of a value that it may overwrite; else an empty home."""
    value = plan.values[number]
    if 2 * value.kept > rows:
        # In a shared place, many rows would be copied there and back for every strip. In its own memory a value only moves on, and is
        # copied when it reaches the end.
        return Home(own=max(2, math.ceil(value.kept / rows)))
    if not value.kept and isinstance(value.operation, Pointwise):
        for read in value.operation.reads:
            old = plan.values[read]
            same = (old.channels, old.narrow) == (value.channels, value.narrow)
            if same and old.last_reader == number and not old.kept and not isinstance(old.operation, Image):  # which may be the caller's
                return Home(homes[read].place, over=read)
    return Home()


def _take(free: set[int], places: list[int], size: int) -> int:
    """Return the free place whose size fits best, enlarged if need be; a new one if none is free."""
    if not free:
        places.append(size)
        return len(places) - 1
    best = min(free, key=lambda place: abs(places[place] - size))
    free.remove(best)
    places[best] = max(places[best], size)
    return best


def _allocated_by_torch(value: Value) -> bool:
    return isinstance(value.operation, (Image, Convolution, Shuffle))
