"""The requested size of a result, and the passes and resizing that lead to it. Pure arithmetic, without images or networks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

from .._util.text import join_words
from ..errors import OptionError

Fit = Literal["stretch", "fit", "fill"]
FITS: tuple[str, ...] = get_args(Fit)

Pair = tuple[int, int]
"""Height and width in pixels."""

_LARGEST = 1_000_000
"""Larger numbers are typing errors. No computer holds such an image."""

_SLACK = Fraction(101, 100)
"""How much the filter may enlarge on its own. Another pass through the network would multiply the work for no visible gain."""


@dataclass(frozen=True)
class Factor:
    """A multiple of the image's size, such as 2, 1.5 or 0.8. Sides are rounded to the nearest pixel, halves upwards.

    Raises:
        OptionError: the factor is not above 0 and at most 1,000,000.
    """

    factor: float

    def __post_init__(self) -> None:
        _check("factor", self.factor)

    def factors(self, height: int, width: int) -> tuple[Fraction, Fraction]:
        """Return the factors for the height and for the width."""
        return _same(_as_written(self.factor))


@dataclass(frozen=True)
class _Side:
    """A length in pixels for one side. The other side keeps the proportions.

    Raises:
        OptionError: the length is not a whole number from 1 to 1,000,000.
    """

    pixels: int

    def __post_init__(self) -> None:
        _check(f"{type(self).__name__.lower()} side", self.pixels, whole=True)


class Longest(_Side):
    """A length in pixels for the longest side. The other side keeps the proportions."""

    def factors(self, height: int, width: int) -> tuple[Fraction, Fraction]:
        """Return the factors for the height and for the width."""
        return _same(Fraction(self.pixels) / max(height, width))


class Shortest(_Side):
    """A length in pixels for the shortest side. The other side keeps the proportions."""

    def factors(self, height: int, width: int) -> tuple[Fraction, Fraction]:
        """Return the factors for the height and for the width."""
        return _same(Fraction(self.pixels) / min(height, width))


@dataclass(frozen=True)
class Exact:
    """A width and a height.

    Args:
        width: in pixels.
        height: in pixels.
        fit: how to handle an image of other proportions. ``"stretch"`` changes them. ``"fit"`` makes the image as large as fits into
            the size, so that one side becomes shorter. ``"fill"`` makes it cover the size and keeps the middle.

    Raises:
        OptionError: a side is not a whole number from 1 to 1,000,000, or ``fit`` is unknown.
    """

    width: int
    height: int
    fit: Fit = "stretch"

    def __post_init__(self) -> None:
        _check("width", self.width, whole=True)
        _check("height", self.height, whole=True)
        if self.fit not in FITS:
            raise OptionError(f"The fit is '{self.fit}'. Expected {join_words(FITS)}.")

    def factors(self, height: int, width: int) -> tuple[Fraction, Fraction]:
        """Return the factors for the height and for the width."""
        vertical, horizontal = Fraction(self.height) / height, Fraction(self.width) / width
        if self.fit == "stretch":
            return vertical, horizontal
        return _same((min if self.fit == "fit" else max)(vertical, horizontal))


@dataclass(frozen=True)
class Megapixels:
    """A number of pixels in millions, met as closely as the proportions of the image allow.

    Raises:
        OptionError: the number is not above 0 and at most 1,000,000.
    """

    millions: float

    def __post_init__(self) -> None:
        _check("number of megapixels", self.millions)

    def factors(self, height: int, width: int) -> tuple[Fraction, Fraction]:
        """Return the factors for the height and for the width."""
        return _same(Fraction(math.sqrt(_as_written(self.millions) * 10**6 / (height * width))))


Size = Factor | Longest | Shortest | Exact | Megapixels


@dataclass(frozen=True)
class Route:
    """The steps from an image to the requested size: one or more passes through the network, then a resize filter."""

    steps: tuple[Pair, ...]
    """The size of the image, then its size after each pass."""
    whole: Pair
    """The size to which the filter resizes the image."""
    size: Pair
    """The size of the result, which is the middle of the resized image."""

    @property
    def passes(self) -> int:
        """The number of passes through the network."""
        return len(self.steps) - 1

    @property
    def filtered(self) -> bool:
        """True if the output of the network is resized or cropped."""
        return self.steps[-1] != self.size or self.whole != self.size

    @property
    def pixels(self) -> int:
        """The number of pixels that enter the network, over all passes."""
        return sum(height * width for height, width in self.steps[:-1])


def route(size: Size | None, height: int, width: int, scale: int) -> Route:
    """Return the route from an image to a size.

    The network runs at least once, and until the image is within 1 % of the size or larger. A network of scale 1 runs once.

    Args:
        size: the requested size. None keeps the size that the network gives.
        height: of the image, in pixels.
        width: of the image, in pixels.
        scale: of the network.

    Raises:
        OptionError: a side of the result would be above 1,000,000 pixels.
    """
    vertical, horizontal = _same(Fraction(scale)) if size is None else size.factors(height, width)
    whole = _rounded(height * vertical), _rounded(width * horizontal)
    if max(whole) > _LARGEST:
        raise OptionError(f"The result would have {whole[1]}x{whole[0]} pixels. Choose a size with sides of up to {_LARGEST:,}.")
    steps: list[Pair] = [(height, width), (height * scale, width * scale)]
    while scale > 1 and Fraction(steps[-1][0], height) * _SLACK < max(vertical, horizontal):
        steps.append((steps[-1][0] * scale, steps[-1][1] * scale))
    kept = (int(size.height), int(size.width)) if isinstance(size, Exact) and size.fit == "fill" else whole
    return Route(tuple(steps), whole, kept)


def _same(factor: Fraction) -> tuple[Fraction, Fraction]:
    return factor, factor


def _as_written(number: float) -> Fraction:
    """Return a number as its decimal digits say, so that 0.35 times 10 is exactly 3.5."""
    return Fraction(str(number))


def _rounded(length: Fraction) -> int:
    return max(1, math.floor(length + Fraction(1, 2)))


def _check(name: str, number: float, *, whole: bool = False) -> None:
    if 0 < number <= _LARGEST and (not whole or number == int(number)):  # NaN is not above 0
        return
    expected = f"a whole number from 1 to {_LARGEST:,}" if whole else f"a number above 0 and up to {_LARGEST:,}"
    raise OptionError(f"The {name} is {number}. Expected {expected}.")
