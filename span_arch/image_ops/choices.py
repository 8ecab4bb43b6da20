"""The choices that users make about images, by name. Importing this costs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast, get_args

from .._util.text import join_words
from ..errors import OptionError

Filter = Literal["lanczos", "bicubic", "area"]
FILTERS: tuple[str, ...] = get_args(Filter)

Alpha = Literal["resize", "model"] | tuple[float, float, float]
"""How to handle alpha: resize it, upscale it with the model, or compose the image over a colour (R, G and B in 0..1)."""

Seamless = Literal["", "x", "y", "xy"]
"""The axes along which an image repeats. On x the left edge continues at the right edge, on y the top at the bottom."""


def check_filter(name: str) -> None:
    """Raise an error if a name is not one of `FILTERS`.

    Raises:
        OptionError: it is not.
    """
    if name not in FILTERS:
        raise OptionError(f"The filter is '{name}'. Expected {join_words(FILTERS)}.")


def check_alpha(alpha: object) -> None:
    """Raise an error if a setting is not one of `Alpha`.

    Raises:
        OptionError: it is not.
    """
    if isinstance(alpha, str):
        valid = alpha in ("resize", "model")
    else:
        levels = list(cast(Sequence[object], alpha)) if isinstance(alpha, (tuple, list)) else []
        valid = len(levels) == 3 and all(isinstance(level, (int, float)) and 0 <= level <= 1 for level in levels)
    if not valid:
        raise OptionError(
            f"The alpha setting is {alpha!r}. Expected 'resize', 'model', or a colour to compose over: three numbers from 0 to 1, such as "
            "(1, 1, 1) for white."
        )


def check_seamless(seamless: str) -> None:
    """Raise an error if a setting is not one of `Seamless`.

    Raises:
        OptionError: it is not.
    """
    if seamless not in get_args(Seamless):
        raise OptionError(f"The seamless axes are {seamless!r}. Expected 'x', 'y' or 'xy', or '' for an image with edges.")
