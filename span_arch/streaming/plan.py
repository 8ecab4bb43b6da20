"""The plan by which a network runs in strips of rows, and the rows that every value has to keep.

Think of the image as followed by empty rows, and pushed through the network in strips of equal height. Every operation then makes a
fixed number of rows per strip, delayed by a fixed number of rows: its lag. A convolution has the lag of its input plus the rows that
it sees below a pixel. An operation that reads several values has the largest of their lags. Between strips, a value keeps the rows
that its readers have yet to see. Rows above the first and below the last are zero for every value, as a convolution's padding is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

from torch import nn

from .folding import channels_of, streamed_operations
from .operations import Cast, Convolution, Operation, Pointwise, Unsupported
from .receptive_field import field_of, reaches
from .traced_graph import trace


@dataclass(frozen=True)
class Value:
    """The result of an operation."""

    operation: Operation
    channels: int
    rate: Fraction
    """Rows per row of the image, and columns per column."""
    lag: int
    """Rows that it is late."""
    kept: int
    """Rows of earlier strips that its readers still need."""
    last_reader: int
    """The number of the last operation that reads it, or its own."""
    narrow: bool
    """True if it is in the narrower of two types."""

    def rows(self, strip: int) -> int:
        """Return its number of rows in a strip of the image."""
        return int(strip * self.rate)


@dataclass(frozen=True)
class Plan:
    """The operations that stream a network, in the order of their turns in each strip. It holds no weights."""

    values: tuple[Value, ...]
    halo: int
    """The radius of the receptive field, a multiple of `unit`."""
    multiple: int = 1
    """The plan holds for images whose sides are multiples of this. The network would pad others by itself."""

    @property
    def unit(self) -> int:
        """The sides of images and the rows of strips have to be multiples of this."""
        return math.lcm(*(value.rate.denominator for value in self.values))

    @property
    def scale(self) -> int:
        """The scale of the network."""
        return int(self.values[-1].rate)

    @property
    def lag(self) -> int:
        """Rows of the image that the output is late."""
        last = self.values[-1]
        return math.ceil(last.lag / last.rate)


def plan_network(network: nn.Module, channels: int) -> Plan | None:
    """Plan to run a network in strips.

    Args:
        network: in evaluation mode; it is not changed.
        channels: of its image.

    Returns:
        The plan; None if the network cannot be streamed.
    """
    try:
        graph = trace(network)
        operations = streamed_operations(graph, channels)
        return Plan(_values(operations, [False] * len(operations)), field_of(graph).radius, graph.multiple)
    except Unsupported:
        return None


def narrowed(plan: Plan) -> Plan:
    """Return the same plan in two types, with the inner convolutions in the narrower one.

    These have a kernel larger than 1x1, and convolutions before and after them: the first ones see the image, the last ones make the
    output.
    """
    operations = [value.operation for value in plan.values]
    return replace(plan, values=_values(*_cast(operations, _narrow(operations))))


def _narrow(operations: list[Operation]) -> list[bool]:
    """Decide for every operation whether it makes a narrow value: inner convolutions, and activations between them."""
    raw, final = [True] * len(operations), [True] * len(operations)  # without a convolution before, or after
    for number, operation in enumerate(operations):
        raw[number] = not isinstance(operation, Convolution) and all(raw[value] for value in operation.reads)
    for number in range(len(operations) - 1, -1, -1):
        for value in operations[number].reads:
            final[value] &= final[number] and not isinstance(operations[number], Convolution)
    narrow = [
        isinstance(operation, Convolution)
        and not final[number]
        and all(kernel is not None and kernel.before != (0, 0) for kernel in operation.kernels)
        and not any(raw[value] for value in operation.reads)
        for number, operation in enumerate(operations)
    ]
    for number, operation in enumerate(operations):
        if isinstance(operation, Pointwise) and len(operation.reads) == 1 and narrow[operation.reads[0]]:
            readers = [n for n, other in enumerate(operations) if number in other.reads]
            narrow[number] = all(isinstance(operations[n], Convolution) and narrow[n] for n in readers)
    return narrow


def _cast(operations: list[Operation], narrow: list[bool]) -> tuple[list[Operation], list[bool]]:
    """Insert a cast wherever an operation reads a value of the other type."""
    made: list[Operation] = []
    types: list[bool] = []
    number: dict[int, int] = {}
    casts: dict[int, int] = {}  # the number of a value in the type that it was not made in
    for old, operation in enumerate(operations):
        found = dict(number)
        for value in operation.reads:
            if narrow[value] != narrow[old]:
                if value not in casts:
                    made.append(Cast(operation.name, (number[value],)))
                    types.append(narrow[old])
                    casts[value] = len(made) - 1
                found[value] = casts[value]
        made.append(operation.renumbered(found))
        types.append(narrow[old])
        number[old] = len(made) - 1
    return made, types


def _values(operations: list[Operation], narrow: list[bool]) -> tuple[Value, ...]:
    reached, channels = reaches(operations, axis=0), channels_of(operations)
    values: list[Value] = []
    for number, (operation, reach) in enumerate(zip(operations, reached, strict=True)):
        values.append(Value(operation, channels[number], reach.rate, reach.after, kept=0, last_reader=number, narrow=narrow[number]))
        for index, source in enumerate(operation.reads):
            value = values[source]
            rows = int(reach.after / operation.scale) - value.lag + operation.reach(index, 0)[1]
            values[source] = replace(value, kept=max(value.kept, rows), last_reader=number)
    return tuple(values)
