"""The geometry of tiles, without any model or image.

A tile has a core, the pixels that it contributes, and reads a halo around it. If the halo is as wide as the receptive field, the core
equals that of the whole image. If the network sees everything, neighbouring tiles are blended over a ramp instead: each fades out where
the other fades in, and their weights add up to one.

The two axes are independent: each is cut into intervals, and the tiles are their products.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise, product


@dataclass(frozen=True)
class Halo:
    """The context that tiles need around them, in pixels of the input."""

    width: int
    """Pixels to read around those that are kept."""
    ramp: int = 0
    """Pixels over which neighbours are blended, half of them on either side of a seam; 0 if the halo is exact."""
    unit: int = 1
    """Tiles begin at multiples of this many pixels."""

    @property
    def margin(self) -> int:
        """How far a tile reads beyond its core."""
        return self.width + self.ramp // 2


@dataclass(frozen=True)
class Interval:
    """One axis of a tile: pixels of the input, from a start up to, but not including, a stop."""

    core: tuple[int, int]
    """The pixels that this interval contributes. The cores of an axis cover it without gap or overlap."""
    kept: tuple[int, int]
    """The pixels kept of the result: the core, and half a ramp more at every seam."""
    read: tuple[int, int]
    """The pixels that go through the network."""

    @property
    def length(self) -> int:
        """Pixels read."""
        return self.read[1] - self.read[0]


@dataclass(frozen=True)
class Tile:
    """A rectangle of the image."""

    rows: Interval
    columns: Interval

    @property
    def core_pixels(self) -> int:
        """Pixels of the core."""
        return (self.rows.core[1] - self.rows.core[0]) * (self.columns.core[1] - self.columns.core[0])


def cut(length: int, parts: int, halo: Halo) -> tuple[Interval, ...]:
    """Cut an axis into that many cores of nearly equal length, or into fewer where some would be empty.

    The last core takes the rest of a unit.
    """
    return divide((0, length), length, parts, halo)


def divide(core: tuple[int, int], length: int, parts: int, halo: Halo) -> tuple[Interval, ...]:
    """Cut a part of an axis, which begins at a multiple of the unit, as `cut` does."""
    start, stop = core
    units = max(1, (stop - start) // halo.unit)
    parts = max(1, min(parts, units))
    edges = [*(start + units * i // parts * halo.unit for i in range(parts)), stop]
    return tuple(_interval(start, stop, length, halo) for start, stop in pairwise(edges))


def by_side(height: int, width: int, side: int, halo: Halo) -> list[Tile]:
    """Return tiles of nearly equal size, with cores no higher or wider than ``side``.

    They are larger if ``side`` is less than a unit or two ramps, and the last of an axis by the rest of a unit.
    """
    units = max(side, _smallest(halo)) // halo.unit
    rows, columns = (math.ceil(length // halo.unit / units) for length in (height, width))
    return _tiles(height, width, rows, columns, halo)


def by_area(height: int, width: int, pixels: float, halo: Halo) -> list[Tile]:
    """Return tiles that read at most ``pixels`` pixels each, and together as few pixels twice as possible.

    If the halo alone has more pixels, the tiles are the smallest possible.
    """
    best: tuple[int, int, int] | None = None
    for rows in range(1, max(1, height // _smallest(halo)) + 1):
        read = height + 2 * halo.margin * (rows - 1)
        if best is not None and read * width >= best[0]:
            break  # every further cut reads more
        columns = _parts_within(width, pixels / _longest(height, rows, halo), halo)
        if columns is not None:
            cost = read * (width + 2 * halo.margin * (columns - 1))
            best = min(best or (cost, rows, columns), (cost, rows, columns))
    if best is None:
        return by_side(height, width, 1, halo)
    return _tiles(height, width, best[1], best[2], halo)


def levelled(tiles: list[Tile], height: int, width: int) -> list[Tile]:
    """Return the same tiles, all reading as much as the largest, so that they can run side by side and be compiled once.

    Only for networks whose unit is one pixel: other tiles cannot be moved freely.
    """
    rows, columns = (max(axis.length for axis in axes) for axes in ([t.rows for t in tiles], [t.columns for t in tiles]))
    return [Tile(_longer(tile.rows, rows, height), _longer(tile.columns, columns, width)) for tile in tiles]


def ramp_weights(interval: Interval, scale: int) -> list[float]:
    """Return the weights of the kept output pixels of an interval: they rise and fall at seams, and are 1 between."""
    (start, stop), (core_start, core_stop) = interval.kept, interval.core
    rise, fall = 2 * (core_start - start) * scale, 2 * (stop - core_stop) * scale
    plain = (stop - start) * scale - rise - fall
    return [(i + 0.5) / rise for i in range(rise)] + [1.0] * plain + [(fall - i - 0.5) / fall for i in range(fall)]


def _interval(start: int, stop: int, length: int, halo: Halo) -> Interval:
    first = max(0, start - halo.margin)
    return Interval(
        core=(start, stop),
        kept=(max(0, start - halo.ramp // 2), min(length, stop + halo.ramp // 2)),
        read=(first - first % halo.unit, min(length, stop + halo.margin)),
    )


def _longer(interval: Interval, read: int, length: int) -> Interval:
    """Return an interval that reads more pixels of an axis: those after it or, at the end of the axis, those before it."""
    stop = min(length, interval.read[0] + read)
    return replace(interval, read=(stop - read, stop))


def _smallest(halo: Halo) -> int:
    """Return the shortest core: ramps must not overlap, and units cannot be divided."""
    return max(1, halo.unit, 2 * (halo.ramp + halo.unit) if halo.ramp else 1)


def _longest(length: int, parts: int, halo: Halo) -> int:
    """Return the length of the longest interval of an axis that is cut into this number of parts, or a little more."""
    return length if parts == 1 else min(length, math.ceil(length / parts) + 2 * halo.margin + 2 * (halo.unit - 1))


def _parts_within(length: int, most: float, halo: Halo) -> int | None:
    """Return the smallest number of parts for which no interval exceeds a limit, or None if there is no such number."""
    if length <= most:
        return 1
    core = int(most) - 2 * halo.margin - 2 * (halo.unit - 1)
    return math.ceil(length / core) if core >= _smallest(halo) else None


def _tiles(height: int, width: int, rows: int, columns: int, halo: Halo) -> list[Tile]:
    return [Tile(row, column) for row, column in product(cut(height, rows, halo), cut(width, columns, halo))]
