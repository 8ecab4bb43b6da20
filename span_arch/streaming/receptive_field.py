"""How far a network sees: the pixels of its input that a pixel of its output can depend on.

The answer may be too large, but never too small. It is None if the network contains an operation whose reach is unknown, such as
attention, pooling or a smooth resize.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from torch import nn

from .operations import Convolution, Operation, Padding, Unsupported
from .traced_graph import TracedGraph, trace


@dataclass(frozen=True)
class ReceptiveField:
    """The area that a network sees around a pixel, in pixels of its input."""

    radius: int
    """A piece of the output depends on at most this many pixels around the same piece of the input, if the edges of the piece are
    multiples of `unit`: 21 for SPAN with six blocks."""
    unit: int
    """The grid that the network works on: 1 for pixels, 2 if it unshuffles by 2. The radius is a multiple of it."""


@dataclass(frozen=True)
class Reach:
    """How far a value sees along an axis, in its own pixels."""

    rate: Fraction
    """Pixels per pixel of the image."""
    before: int
    after: int


def find_receptive_field(network: nn.Module) -> ReceptiveField | None:
    """Return the receptive field of a network; None if it is infinite or unknown."""
    try:
        return field_of(trace(network))
    except Unsupported:
        return None


def field_of(graph: TracedGraph) -> ReceptiveField:
    """Return the receptive field of a traced network.

    Raises:
        Unsupported: an operation joins values of different sizes.
    """
    axes = [reaches(graph.operations, axis) for axis in (0, 1)]
    unit = math.lcm(graph.multiple, *(reach.rate.denominator for reach in axes[0]))
    radius = max(math.ceil(max(reached[-1].before, reached[-1].after, 0) / reached[-1].rate) for reached in axes)
    return ReceptiveField(math.ceil(radius / unit) * unit, unit)


def reaches(operations: Sequence[Operation], axis: int) -> list[Reach]:
    """Return the reach of every value along the rows (axis 0) or the columns (axis 1).

    Raises:
        Unsupported: an operation joins values of different sizes.
    """
    found: list[Reach] = []
    for operation in operations:
        rate, before, after = Fraction(1), 0, 0
        if operation.reads:
            read = [found[value] for value in operation.reads]
            rate = read[0].rate
            if any(other.rate != rate for other in read):
                raise Unsupported(f"{operation.name} joins values of different sizes")
            own = [operation.reach(index, axis) for index in range(len(read))]
            if _mirrors(operation):  # a pixel beyond the border is one within, which sees as far to the other side
                read = [Reach(rate, max(other.before, other.after), max(other.before, other.after)) for other in read]
            before = math.ceil(max(other.before + reach[0] for other, reach in zip(read, own, strict=True)) * operation.scale)
            after = math.ceil(max(other.after + reach[1] for other, reach in zip(read, own, strict=True)) * operation.scale)
        found.append(Reach(rate * operation.scale, before, after))
    return found


def _mirrors(operation: Operation) -> bool:
    if isinstance(operation, Convolution):
        return any(kernel is not None and kernel.mirrored for kernel in operation.kernels)
    return isinstance(operation, Padding) and operation.mirrored
