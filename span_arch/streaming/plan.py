"""How a network is run in strips of rows: what every value has to keep, and where it lies in memory.

Think of the image as followed by rows of nothing, and pushed through the network in strips of equally many rows. Every
operation then gives as many rows per strip as its grid has, and is late by a fixed number of its own rows, its lag: a
convolution by the rows that it sees below a pixel, in addition to what it reads; an operation of several values by as much as
the latest of them. A value keeps, from one strip to the next, the rows that its readers have yet to see. Rows above the first
and below the last are zero, for every value: this is what a convolution's padding means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

from torch import nn

from .operations import Cast, Convolution, Nearest, Operation, Pointwise, Shuffle, Unshuffle
from .read_graph import NotStreamable, read


@dataclass(frozen=True)
class Value:
    """What an operation gives."""

    operation: Operation
    rate: Fraction
    """Rows, and columns, per row and column of the image."""
    lag: int
    """Rows that it is late."""
    kept: int
    """Rows that its readers still need of earlier strips."""
    last_reader: int
    """The number of the last operation that reads it; its own, if none does."""
    narrow: bool
    """Whether it is in the narrower of two types."""

    @property
    def channels(self) -> int:
        return self.operation.channels

    def rows(self, strip: int) -> int:
        """Its rows in a strip of so many rows of the image."""
        return int(strip * self.rate)


@dataclass(frozen=True)
class Plan:
    """A network of rows, of which every operation has its turn in each strip. It knows no weights."""

    values: tuple[Value, ...]
    halo: int
    """Pixels of the image that the network sees to any side at the most; a multiple of `unit`."""
    multiple: int = 1
    """It is true of images with sides that are a multiple of this; others the network would pad by itself."""

    @property
    def unit(self) -> int:
        """Images have sides that are a multiple of this, and strips as well."""
        return math.lcm(*(value.rate.denominator for value in self.values))

    @property
    def scale(self) -> int:
        """Of the output."""
        return int(self.values[-1].rate)

    @property
    def lag(self) -> int:
        """Rows of the image that the output is late."""
        last = self.values[-1]
        return math.ceil(last.lag / last.rate)


def plan(network: nn.Module, channels: int) -> Plan | None:
    """Plans to run a network in strips.

    Args:
        network: in evaluation mode; it is only looked at.
        channels: of its image.

    Returns:
        The plan; None if the network cannot be run so.
    """
    try:
        operations, multiple = read(network, channels)
        return replace(_of(operations, [False] * len(operations)), multiple=multiple)
    except NotStreamable:
        return None


def narrowed(plan: Plan) -> Plan:
    """The same in two types, with those convolutions in the narrower one that bear it.

    These are all with a kernel larger than 1x1 but the first ones, which see the image, and the last ones, which make the output.
    """
    operations = [value.operation for value in plan.values]
    return replace(_of(*_cast(operations, _narrow(operations))), multiple=plan.multiple)


def _of(operations: list[Operation], narrow: list[bool]) -> Plan:
    plan = Plan(tuple(_values(operations, narrow)), max(_sight(operations, axis) for axis in (0, 1)))
    return replace(plan, halo=math.ceil(plan.halo / plan.unit) * plan.unit)


def _narrow(operations: list[Operation]) -> list[bool]:
    """For every operation, whether it gives a narrow value: convolutions inside, and what comes of them alone and serves them alone."""
    raw, final = [True] * len(operations), [True] * len(operations)  # no convolution before it; none after it
    for number, operation in enumerate(operations):
        raw[number] = not isinstance(operation, Convolution) and all(raw[value] for value in operation.reads)
    for number in range(len(operations) - 1, -1, -1):
        for value in operations[number].reads:
            final[value] &= final[number] and not isinstance(operations[number], Convolution)
    narrow = [
        isinstance(operation, Convolution)
        and not final[number]
        and all(term.kernel is not None and term.kernel.reach != (0, 0) and not raw[term.value] for term in operation.terms)
        for number, operation in enumerate(operations)
    ]
    for number, operation in enumerate(operations):
        if isinstance(operation, Pointwise) and len(operation.reads) == 1 and narrow[operation.reads[0]]:
            readers = [n for n, other in enumerate(operations) if number in other.reads]
            narrow[number] = all(isinstance(operations[n], Convolution) and narrow[n] for n in readers)
    return narrow


def _cast(operations: list[Operation], narrow: list[bool]) -> tuple[list[Operation], list[bool]]:
    """With casts wherever an operation reads a value that is not of its own type."""
    made: list[Operation] = []
    types: list[bool] = []
    number: dict[int, int] = {}
    other: dict[int, int] = {}  # where a value is found in the type that it was not made in
    for old, operation in enumerate(operations):
        found = dict(number)
        for value in operation.reads:
            if narrow[value] != narrow[old]:
                if value not in other:
                    made.append(Cast(operations[value].channels, number[value]))
                    types.append(narrow[old])
                    other[value] = len(made) - 1
                found[value] = other[value]
        made.append(operation.renumbered(found))
        types.append(narrow[old])
        number[old] = len(made) - 1
    return made, types


def _values(operations: list[Operation], narrow: list[bool]) -> list[Value]:
    values: list[Value] = []
    for number, (operation, (rate, lag)) in enumerate(zip(operations, _rates_and_lags(operations, axis=0), strict=True)):
        values.append(Value(operation, rate, lag, kept=0, last_reader=number, narrow=narrow[number]))
        for source, rows in _looks_back(operation, lag, values):
            value = values[source]
            values[source] = replace(value, kept=max(value.kept, rows), last_reader=number)
    return values


def _sight(operations: list[Operation], axis: int) -> int:
    rate, lag = _rates_and_lags(operations, axis)[-1]
    return math.ceil(lag / rate)


def _rates_and_lags(operations: list[Operation], axis: int) -> list[tuple[Fraction, int]]:
    """Of every value, along the rows (axis 0) or, if columns came one by one, along those."""
    found: list[tuple[Fraction, int]] = []
    for operation in operations:
        rate, lag = Fraction(1), 0
        if operation.reads:
            rate = found[operation.reads[0]][0]
            if any(found[value][0] != rate for value in operation.reads):
                raise NotStreamable
            lag = max(found[value][1] + _reach(operation, i, axis) for i, value in enumerate(operation.reads))
        if isinstance(operation, (Nearest, Shuffle)):
            rate, lag = rate * operation.factor, lag * operation.factor
        elif isinstance(operation, Unshuffle):
            rate, lag = rate / operation.factor, math.ceil(lag / operation.factor)
        found.append((rate, lag))
    return found


def _reach(operation: Operation, index: int, axis: int) -> int:
    """Pixels to either side that an operation sees of the value that it reads at that place."""
    kernel = operation.terms[index].kernel if isinstance(operation, Convolution) else None
    return kernel.reach[axis] if kernel is not None else 0


def _looks_back(operation: Operation, lag: int, values: list[Value]) -> list[tuple[int, int]]:
    """The values that an operation reads, and how many of their rows before the newest strip it still needs."""
    factor = Fraction(1)
    if isinstance(operation, (Nearest, Shuffle)):
        factor = Fraction(1, operation.factor)
    elif isinstance(operation, Unshuffle):
        factor = Fraction(operation.factor)
    return [(value, int(lag * factor) - values[value].lag + _reach(operation, i, 0)) for i, value in enumerate(operation.reads)]
