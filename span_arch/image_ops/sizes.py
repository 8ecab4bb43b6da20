"""The size that somebody wants, and the way to it. Pure arithmetic: no image, no network, no memory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

from ..errors import OptionError

Fit = Literal["stretch", "fit", "fill"]
FITS: tuple[str, ...] = get_args(Fit)

Pair = tuple[int, int]
"""Height and width in pixels."""

_MOST = 1_000_000
"""Larger numbers are slips: nothing of such a size can be held."""

_SLACK = Fraction(101, 100)
"""What the filter may enlarge before the network is run once more, which would cost a multiple for what nobody sees."""


@dataclass(frozen=True)
class Factor:
    """So many times as large as the image: 2, 1.5, 0.8. Sides are rounded to the nearest pixel, halves upwards.

    Raises:
        OptionError: the factor is not above 0 and at most 1,000,000.
    """

    factor: float

    def __post_init__(self) -> None:
        _check("A factor", self.factor)

    def factors(self, height: int, width: int) -> tuple[Fraction, Fraction]:
        """Downwards and across."""
        return _alike(_exact(self.factor))


@dataclass(frozen=True)
class Longest:
    """The longest side becomes so many pixels long, and the other one follows.

    Raises:
        OptionError: the length is no whole number from 1 to 1,000,000.
    """

    pixels: int

    def __post_init__(self) -> None:
        _check("A longest side", self.pixels, whole=True)

    def factors(self, height: int, width: int) -> tuple[Fraction, Fraction]:
        """Downwards and across."""
        return _alike(Fraction(self.pixels) / max(height, width))


@dataclass(frozen=True)
class Shortest:
    """The shortest side becomes so many pixels long, and the other one follows.

    Raises:
        OptionError: the length is no whole number from 1 to 1,000,000.
    """

    pixels: int

    def __post_init__(self) -> None:
        _check("A shortest side", self.pixels, whole=True)

    def factors(self, height: int, width: int) -> tuple[Fraction, Fraction]:
        """Downwards and across."""
        return _alike(Fraction(self.pixels) / min(height, width))


@dataclass(frozen=True)
class Exact:
    """A width and a height.

    Args:
        width: in pixels.
        height: in pixels.
        fit: what happens if the proportions of the image are others. ``"stretch"`` changes them; ``"fit"`` makes the image as large
            as goes into that size, so that one side becomes shorter; ``"fill"`` makes it cover that size, and keeps the middle.

    Raises:
        OptionError: a side is no whole number from 1 to 1,000,000, or ``fit`` is unknown.
    """

    width: int
    height: int
    fit: Fit = "stretch"

    def __post_init__(self) -> None:
        _check("A width", self.width, whole=True)
        _check("A height", self.height, whole=True)
        if self.fit not in FITS:
            raise OptionError(f"The way '{self.fit}' to meet a size is unknown; expected {', '.join(FITS[:-1])} or {FITS[-1]}.")

    def factors(self, height: int, width: int) -> tuple[Fraction, Fraction]:
        """Downwards and across."""
        down, across = Fraction(self.height) / height, Fraction(self.width) / width
        if self.fit == "stretch":
            return down, across
        return _alike((min if self.fit == "fit" else max)(down, across))


@dataclass(frozen=True)
class Megapixels:
    """So many millions of pixels, as nearly as the proportions of the image allow.

    Raises:
        OptionError: the number is not above 0 and at most 1,000,000.
    """

    millions: float

    def __post_init__(self) -> None:
        _check("A number of megapixels", self.millions)

    def factors(self, height: int, width: int) -> tuple[Fraction, Fraction]:
        """Downwards and across."""
        return _alike(Fraction(math.sqrt(_exact(self.millions) * 10**6 / (height * width))))


Size = Factor | Longest | Shortest | Exact | Megapixels


@dataclass(frozen=True)
class Route:
    """The way from an image to the size that is wanted: through a network, once or more, then through a filter."""

    steps: tuple[Pair, ...]
    """The size of the image, and what it is after every pass through the network."""
    whole: Pair
    """The size that the filter gives the image."""
    size: Pair
    """The size of the result: what is kept of the whole, its middle."""

    @property
    def passes(self) -> int:
        """How often the network is run."""
        return len(self.steps) - 1

    @property
    def corner(self) -> Pair:
        """The row and the column of the whole at which the result begins."""
        return (self.whole[0] - self.size[0]) // 2, (self.whole[1] - self.size[1]) // 2

    @property
    def filtered(self) -> bool:
        """Whether what the network gives is resized or cropped."""
        return self.steps[-1] != self.size or self.whole != self.size

    @property
    def pixels(self) -> int:
        """How many pixels the network is shown, in all passes."""
        return sum(height * width for height, width in self.steps[:-1])


def route(size: Size | None, height: int, width: int, scale: int) -> Route:
    """The way from an image to a size.

    The network is run until the image is as large as it is to become (less a hundredth), at least once, and once only if it does not
    enlarge.

    Args:
        size: what is wanted. None: what the network makes of the image.
        height: of the image, in pixels.
        width: of the image, in pixels.
        scale: of the network.

    Raises:
        OptionError: a side of the result would be above 1,000,000 pixels.
    """
    down, across = _alike(Fraction(scale)) if size is None else size.factors(height, width)
    whole = _nearest(height * down), _nearest(width * across)
    if max(whole) > _MOST:
        raise OptionError(f"The size asked for is {whole[1]}x{whole[0]} pixels; ask for one whose sides are up to {_MOST:,}.")
    steps: list[Pair] = [(height, width), (height * scale, width * scale)]
    while scale > 1 and Fraction(steps[-1][0], height) * _SLACK < max(down, across):
        steps.append((steps[-1][0] * scale, steps[-1][1] * scale))
    kept = (int(size.height), int(size.width)) if isinstance(size, Exact) and size.fit == "fill" else whole
    return Route(tuple(steps), whole, kept)


def _alike(factor: Fraction) -> tuple[Fraction, Fraction]:
    return factor, factor


def _exact(number: float) -> Fraction:
    """A number as it is written: 0.35 times 10 is 3.5, not a little less."""
    return Fraction(str(number))


def _nearest(length: Fraction) -> int:
    return max(1, math.floor(length + Fraction(1, 2)))


def _check(what: str, number: float, *, whole: bool = False) -> None:
    """Raises an `OptionError` that says of which size a number cannot be."""
    if 0 < number <= _MOST and (not whole or number == int(number)):  # NaN is not above 0
        return
    expected = f"a whole number from 1 to {_MOST:,}" if whole else f"a number above 0 and up to {_MOST:,}"
    raise OptionError(f"{what} of {number} was asked for; give {expected}.")
