"""What a network that can be streamed is made of: operations on rows, each of which gives one value.

Values are numbered in the order in which they are made; an operation names those it reads by their numbers. Nothing here holds a
weight or a tensor: weights are named by their paths within the network, so that a plan never keeps a network alive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Ref:
    """An argument that is a value."""

    value: int


@dataclass(frozen=True)
class Constant:
    """An argument that is a parameter or a buffer of the network, the same at every pixel."""

    path: str
    channels: int


@dataclass(frozen=True)
class Operation:
    """What all have in common."""

    channels: int
    """Of the value that it gives."""

    @property
    def reads(self) -> tuple[int, ...]:
        """The values that it reads."""
        raise NotImplementedError

    def renumbered(self, number: dict[int, int]) -> Operation:
        """The same, reading values by other numbers."""
        raise NotImplementedError


@dataclass(frozen=True)
class Image(Operation):
    """The rows of the image itself."""

    @property
    def reads(self) -> tuple[int, ...]:
        return ()

    def renumbered(self, number: dict[int, int]) -> Image:
        return self


@dataclass(frozen=True)
class Kernel:
    """The weights of a convolution, as they are found in a network, or made of what is found there."""

    path: str
    """Of an ``nn.Conv2d`` of stride 1 that pads with zeros to the size of its input."""
    reach: tuple[int, int]
    """Rows above and below, and columns to either side, that a pixel sees."""
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    part: tuple[int, int] | None = None
    """Only these of its input channels, from a first to before a last. The bias goes with the part that begins at 0."""
    then: Kernel | None = None
    """A 1x1 convolution that follows; the two are one."""


@dataclass(frozen=True)
class Term:
    """One of a sum: the convolution of a value, or the value itself."""

    value: int
    kernel: Kernel | None


@dataclass(frozen=True)
class Convolution(Operation):
    """A sum of convolutions: usually of one; of several where a 1x1 convolution reads a concatenation."""

    terms: tuple[Term, ...]

    @property
    def reads(self) -> tuple[int, ...]:
        return tuple(term.value for term in self.terms)

    def renumbered(self, number: dict[int, int]) -> Convolution:
        return replace(self, terms=tuple(replace(term, value=number[term.value]) for term in self.terms))


@dataclass(frozen=True)
class Pointwise(Operation):
    """A function of a pixel alone."""

    function: Callable[..., Any]
    """Takes ``arguments``, ``keywords`` and ``out``."""
    arguments: tuple[Any, ...]
    keywords: tuple[tuple[str, Any], ...] = ()

    @property
    def reads(self) -> tuple[int, ...]:
        return tuple(argument.value for argument in self.arguments if isinstance(argument, Ref))

    def renumbered(self, number: dict[int, int]) -> Pointwise:
        arguments = tuple(Ref(number[argument.value]) if isinstance(argument, Ref) else argument for argument in self.arguments)
        return replace(self, arguments=arguments)


@dataclass(frozen=True)
class Concatenation(Operation):
    """Values one after the other along the channels."""

    values: tuple[int, ...]

    @property
    def reads(self) -> tuple[int, ...]:
        return self.values

    def renumbered(self, number: dict[int, int]) -> Concatenation:
        return replace(self, values=tuple(number[value] for value in self.values))


@dataclass(frozen=True)
class Resampling(Operation):
    """A value on a finer or a coarser grid."""

    value: int
    factor: int

    @property
    def reads(self) -> tuple[int, ...]:
        return (self.value,)

    def renumbered(self, number: dict[int, int]) -> Resampling:
        return replace(self, value=number[self.value])


class Nearest(Resampling):
    """Every pixel becomes ``factor`` x ``factor`` of the same colour."""


class Shuffle(Resampling):
    """``factor**2`` channels become ``factor`` x ``factor`` pixels."""


class Unshuffle(Resampling):
    """``factor`` x ``factor`` pixels become ``factor**2`` channels."""


@dataclass(frozen=True)
class Cast(Operation):
    """A value in the other of the two types that a network is run in."""

    value: int

    @property
    def reads(self) -> tuple[int, ...]:
        return (self.value,)

    def renumbered(self, number: dict[int, int]) -> Cast:
        return replace(self, value=number[self.value])
