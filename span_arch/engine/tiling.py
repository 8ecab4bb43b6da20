"""How an image is cut into tiles: geometry alone, of no model and no image.

A tile has a core, the pixels that it is there for, and reads a halo around it. If the halo is as wide as the network sees, the
core comes out exactly as it would from the whole image. If the network sees without end, neighbouring tiles are blended over
a ramp instead, each fading out where the other fades in, so that their weights always add up to one.

The two axes are independent: each is cut into segments, and the tiles are their products.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise, product


@dataclass(frozen=True)
class Halo:
    """What tiles need of their neighbourhood, in pixels of the input."""

    halo: int
    """Pixels to read around what is kept."""
    ramp: int = 0
    """Pixels, half of them on either side of a seam, over which neighbours are blended; 0 where they agree anyway."""
    unit: int = 1
    """Tiles begin at multiples of this."""

    @property
    def margin(self) -> int:
        """How far a tile reads beyond its core."""
        return self.halo + self.ramp // 2


@dataclass(frozen=True)
class Interval:
    """One axis of a tile: pixels of the input from a start up to, but not including, a stop."""

    core: tuple[int, int]
    """What this segment is there for; the cores of an axis cover it without a gap and without overlap."""
    kept: tuple[int, int]
    """What is kept of the result: the core, and half a ramp more at every seam."""
    read: tuple[int, int]
    """What the network is shown."""

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
        """Pixels that this tile is there for."""
        return (self.rows.core[1] - self.rows.core[0]) * (self.columns.core[1] - self.columns.core[0])


def cut(length: int, parts: int, context: Halo) -> tuple[Interval, ...]:
    """Cuts an axis into that many cores of nearly the same length; into fewer where some would be empty.

    What is left over of the last unit goes to the last core.
    """
    return divide((0, length), length, parts, context)


def divide(core: tuple[int, int], length: int, parts: int, context: Halo) -> tuple[Interval, ...]:
    """The same for a part of an axis, which begins at a multiple of the unit."""
    start, stop = core
    units = max(1, (stop - start) // context.unit)
    parts = max(1, min(parts, units))
    edges = [*(start + units * i // parts * context.unit for i in range(parts)), stop]
    return tuple(_segment(start, stop, length, context) for start, stop in pairwise(edges))


def by_side(height: int, width: int, side: int, context: Halo) -> list[Tile]:
    """Tiles with cores no higher or wider than ``side``, all of nearly the same size.

    They are larger where ``side`` is less than a unit or two ramps, and the last of an axis by what is left of a unit.
    """
    units = max(side, _smallest(context)) // context.unit
    rows, columns = (math.ceil(length // context.unit / units) for length in (height, width))
    return _tiles(height, width, rows, columns, context)


def by_area(height: int, width: int, pixels: float, context: Halo) -> list[Tile]:
    """Tiles that read at most so many pixels each, cut so that as little as possible is read twice.

    Where that cannot be, since the halo alone has more pixels than that, the tiles are the smallest there are.
    """
    best: tuple[int, int, int] | None = None
    for rows in range(1, max(1, height // _smallest(context)) + 1):
        read = height + 2 * context.margin * (rows - 1)
        if best is not None and read * width >= best[0]:
            break  # every further cut reads more
        columns = _parts_within(width, pixels / _longest(height, rows, context), context)
        if columns is not None:
            cost = read * (width + 2 * context.margin * (columns - 1))
            best = min(best or (cost, rows, columns), (cost, rows, columns))
    if best is None:
        return by_side(height, width, 1, context)
    return _tiles(height, width, best[1], best[2], context)


def levelled(tiles: list[Tile], height: int, width: int) -> list[Tile]:
    """The same tiles, of which all read as much as the largest: they can go through a network side by side, compiled just once.

    Of networks whose units are pixels: the tiles of others cannot be moved freely.
    """
    rows, columns = (max(axis.length for axis in axes) for axes in ([t.rows for t in tiles], [t.columns for t in tiles]))
    return [Tile(_longer(tile.rows, rows, height), _longer(tile.columns, columns, width)) for tile in tiles]


def ramp_weights(segment: Interval, scale: int) -> list[float]:
    """The weights of the kept pixels of a segment, in the output: rising where it meets its neighbours, 1 between."""
    (start, stop), (core_start, core_stop) = segment.kept, segment.core
    rise, fall = 2 * (core_start - start) * scale, 2 * (stop - core_stop) * scale
    plain = (stop - start) * scale - rise - fall
    return [(i + 0.5) / rise for i in range(rise)] + [1.0] * plain + [(fall - i - 0.5) / fall for i in range(fall)]


def _segment(start: int, stop: int, length: int, context: Halo) -> Interval:
    first = max(0, start - context.margin)
    return Interval(
        core=(start, stop),
        kept=(max(0, start - context.ramp // 2), min(length, stop + context.ramp // 2)),
        read=(first - first % context.unit, min(length, stop + context.margin)),
    )


def _longer(segment: Interval, read: int, length: int) -> Interval:
    """A segment that reads so many pixels of an axis: more of those below, or above where there are none."""
    stop = min(length, segment.read[0] + read)
    return replace(segment, read=(stop - read, stop))


def _smallest(context: Halo) -> int:
    """The shortest core: ramps must not run into each other, and units cannot be divided."""
    return max(1, context.unit, 2 * (context.ramp + context.unit) if context.ramp else 1)


def _longest(length: int, parts: int, context: Halo) -> int:
    """The most that a segment reads of an axis in so many parts, or a little more than that."""
    return length if parts == 1 else min(length, math.ceil(length / parts) + 2 * context.margin + 2 * (context.unit - 1))


def _parts_within(length: int, most: float, context: Halo) -> int | None:
    """The fewest parts of which each reads at most so much of an axis; None if there are none."""
    if length <= most:
        return 1
    core = int(most) - 2 * context.margin - 2 * (context.unit - 1)
    return math.ceil(length / core) if core >= _smallest(context) else None


def _tiles(height: int, width: int, rows: int, columns: int, context: Halo) -> list[Tile]:
    return [Tile(row, column) for row, column in product(cut(height, rows, context), cut(width, columns, context))]
