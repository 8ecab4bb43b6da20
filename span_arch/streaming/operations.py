"""The operations of a traced network, and of the plan that streams it.

Operations are numbered in the order in which they run, and name what they read by these numbers. None of them holds a tensor: weights
are named by their paths within the network, so a plan keeps no network alive.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from typing_extensions import Self, override


class Unsupported(Exception):
    """A network contains an operation that a consumer of its graph cannot handle. The message names it."""


@dataclass(frozen=True)
class Ref:
    """An argument that is a value: the index of it among the values that an operation reads."""

    index: int


@dataclass(frozen=True)
class Constant:
    """An argument that is a parameter or a buffer of the network."""

    path: str
    """Empty for a constant that the forward pass computes."""
    shape: tuple[int, ...] = ()

    @property
    def uniform(self) -> bool:
        """True for a stored constant that is the same at every pixel."""
        return bool(self.path) and all(size == 1 for size in self.shape[-2:]) and math.prod(self.shape) == max([1, *self.shape])


@dataclass(frozen=True)
class Operation:
    """A step of a forward pass. It makes one value."""

    name: str
    """The path of the module that computes it, or the name that torch.fx gives the call."""
    reads: tuple[int, ...]
    """The values that it reads."""

    @property
    def kind(self) -> str:
        """The operation in a word, for error messages."""
        return getattr(self, "function", type(self).__name__.lower())

    @property
    def scale(self) -> Fraction:
        """Rows of its value per row of what it reads."""
        return Fraction(1)

    def reach(self, index: int, axis: int) -> tuple[int, int]:
        """Return how many pixels before and after its own it sees along an axis (0: rows) of the value that it reads at an index."""
        return 0, 0

    def channels(self, read: Sequence[int]) -> int:
        """Return the channels of its value, given those of the values that it reads."""
        return read[0]

    def renumbered(self, number: Mapping[int, int]) -> Self:
        """Return the same operation where values have other numbers."""
        return replace(self, reads=tuple(number[value] for value in self.reads))


@dataclass(frozen=True)
class Image(Operation):
    """The image itself."""

    image_channels: int = 0
    """0 in a traced graph, which holds for any number."""

    @override
    def channels(self, read: Sequence[int]) -> int:
        return self.image_channels


@dataclass(frozen=True)
class Kernel:
    """The weights of an ``nn.Conv2d`` of stride 1, as a network holds them or derived from that."""

    path: str
    """The path of the module."""
    c_in: int
    c_out: int
    before: tuple[int, int]
    """Rows above and columns to the left that a pixel sees; as many are padded."""
    after: tuple[int, int]
    """Rows below and columns to the right that a pixel sees."""
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    mirrored: bool = False
    """True if the padding repeats pixels, instead of zeros."""
    part: tuple[int, int] | None = None
    """The input channels to use, from a first to before a last; None for all. The bias goes with the part that begins at 0."""
    then: Kernel | None = None
    """A 1x1 convolution that follows; the two are computed as one."""


@dataclass(frozen=True)
class Convolution(Operation):
    """A sum of convolutions: usually one; several where a 1x1 convolution reads a concatenation."""

    kernels: tuple[Kernel | None, ...]
    """One for each value that it reads; None adds the value itself."""

    @override
    def reach(self, index: int, axis: int) -> tuple[int, int]:
        kernel = self.kernels[index]
        return (0, 0) if kernel is None else (kernel.before[axis], kernel.after[axis])

    @override
    def channels(self, read: Sequence[int]) -> int:
        kernel = self.kernels[0]
        return read[0] if kernel is None else (kernel.then or kernel).c_out


@dataclass(frozen=True)
class Pointwise(Operation):
    """A function of a pixel alone."""

    function: str
    """A key of `POINTWISE`."""
    arguments: tuple[Any, ...]
    """References, constants and numbers."""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Keyword arguments of the function."""

    @override
    def channels(self, read: Sequence[int]) -> int:
        return max(read)


@dataclass(frozen=True)
class Concatenation(Operation):
    """Values one after the other along the channels."""

    @override
    def channels(self, read: Sequence[int]) -> int:
        return sum(read)


@dataclass(frozen=True)
class Nearest(Operation):
    """Every pixel repeated in a square of ``factor`` x ``factor``."""

    factor: int

    @property
    @override
    def scale(self) -> Fraction:
        return Fraction(self.factor)


class Shuffle(Nearest):
    """``factor**2`` channels as ``factor`` x ``factor`` pixels."""

    @override
    def channels(self, read: Sequence[int]) -> int:
        return read[0] // self.factor**2


class Unshuffle(Nearest):
    """``factor`` x ``factor`` pixels as ``factor**2`` channels."""

    @property
    @override
    def scale(self) -> Fraction:
        return Fraction(1, self.factor)

    @override
    def channels(self, read: Sequence[int]) -> int:
        return read[0] * self.factor**2


@dataclass(frozen=True)
class Padding(Operation):
    """A value with pixels added around it, or taken away where numbers are negative. It is not streamed."""

    before: tuple[int, int]
    """Rows above and columns to the left."""
    mirrored: bool

    @override
    def reach(self, index: int, axis: int) -> tuple[int, int]:
        return self.before[axis], -self.before[axis]


class SamePixels(Operation):
    """A value with its channels selected or repeated, or its type changed; every pixel stays in its place. It is not streamed."""


class Cast(Operation):
    """A value in the other of the two types that a plan mixes."""
