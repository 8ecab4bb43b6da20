"""What a network does to its image before the first convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from ..errors import OptionError


@dataclass(frozen=True)
class Normalisation:
    """``(image - mean) * range``, image in 0..1, R G B. No network of the family undoes it at its end."""

    mean: tuple[float, float, float]
    range: float

    def __str__(self) -> str:
        return f"(x - ({', '.join(f'{m:g}' for m in self.mean)})) * {self.range:g}"


PAPER: Final = Normalisation(mean=(0.4488, 0.4371, 0.4040), range=255.0)
"""What the authors train with: the mean of DIV2K, and 8 bit levels."""

IMAGENET: Final = Normalisation(mean=(0.485, 0.456, 0.406), range=1.0)
"""The mean of ImageNet, which some community networks are trained with, 4x-SPANkendata for one."""

NAMED: Final[dict[str, Normalisation | None]] = {"paper": PAPER, "imagenet": IMAGENET, "none": None}
"""All settings that networks are known to be trained with."""

_LARGEST = 3.4e38
"""What is above that, is infinite in float32."""

Normalise = Literal["auto", "paper", "imagenet", "none"] | Normalisation | Sequence[Any] | str | None
"""A wish: ``"auto"``, one of `NAMED`, a `Normalisation`, ``(mean, range)``, or None, which is none as well."""


def wished(normalise: Normalise) -> Normalisation | Literal["auto"] | None:
    """What a wish means. As text, a mean and a range are four numbers: R, G, B and range, apart by spaces or commas.

    Raises:
        OptionError: it is none of what `Normalise` lists, or its numbers are no mean and range.
    """
    if normalise is None or normalise == "auto" or isinstance(normalise, Normalisation):
        return cast("Normalisation | Literal['auto'] | None", normalise)
    try:
        if isinstance(normalise, str):
            if normalise in NAMED:
                return NAMED[normalise]
            red, green, blue, span = (float(word) for word in normalise.replace(",", " ").split())
        else:
            mean, span = normalise[0], float(normalise[1])
            red, green, blue = (float(value) for value in mean)
    except (TypeError, ValueError, IndexError) as error:
        raise OptionError(
            f"The normalisation {normalise!r} makes no sense; expected 'auto', {', '.join(map(repr, NAMED))}, or a mean for R, G and B "
            "and a range, such as '0.485 0.456 0.406 1'."
        ) from error
    if not (all(abs(value) <= _LARGEST for value in (red, green, blue, span)) and span > 0):
        raise OptionError(f"The normalisation {normalise!r} has to be of finite numbers, and its range above 0.")
    return Normalisation((red, green, blue), span)
