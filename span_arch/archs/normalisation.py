"""The normalisation that a network applies to its image before the first convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from ..errors import OptionError


@dataclass(frozen=True)
class Normalisation:
    """``(image - mean) * range`` for an image in 0..1 and a mean for R, G and B. No network of the family undoes it at its end."""

    mean: tuple[float, float, float]
    range: float

    def __str__(self) -> str:
        return f"(x - ({', '.join(f'{m:g}' for m in self.mean)})) * {self.range:g}"


PAPER: Final = Normalisation(mean=(0.4488, 0.4371, 0.4040), range=255.0)
"""The normalisation of the paper: the mean of DIV2K, and 8 bit levels."""

IMAGENET: Final = Normalisation(mean=(0.485, 0.456, 0.406), range=1.0)
"""The mean of ImageNet. Some community networks are trained with it, such as 4x-SPANkendata."""

IDENTITY: Final = Normalisation(mean=(0.0, 0.0, 0.0), range=1.0)
"""The same as no normalisation."""

NAMED: Final[dict[str, Normalisation | None]] = {"paper": PAPER, "imagenet": IMAGENET, "none": None}
"""The normalisations that a caller can choose by name."""

_HALF = (0.5, 0.5, 0.5)

KNOWN: Final = (
    PAPER,  # also neosr until January 2024
    IMAGENET,
    Normalisation(PAPER.mean, 1.0),  # neosr from 2024-01-28
    Normalisation(_HALF, 1.0),  # neosr from 2024-04-07, traiNNer-redux from 2024-05-21 to 06-15
    Normalisation(_HALF, 255.0),
    Normalisation(IMAGENET.mean, 255.0),
    Normalisation(_HALF, 2.0),  # -1..1
    IDENTITY,  # the default of neosr and traiNNer-redux
)
"""The normalisations that training programs and published networks use. If two fit a network alike, the first is more likely."""

_FLOAT32_MAX = 3.4e38

Normalise = Literal["auto", "paper", "imagenet", "none"] | Normalisation | Sequence[Any] | str | None
"""A caller's choice: ``"auto"``, a name in `NAMED`, a `Normalisation`, ``(mean, range)``, four numbers as text, or None for none."""


def parse_normalisation(normalise: Normalise) -> Normalisation | Literal["auto"] | None:
    """Return the normalisation that a caller's choice means. Text holds R, G, B and range, separated by spaces or commas.

    Raises:
        OptionError: the choice is not one that `Normalise` lists, or its numbers are not a finite mean and a range above 0.
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
            f"The normalisation {normalise!r} is unknown. Expected 'auto', {', '.join(map(repr, NAMED))}, or a mean for R, G and B and a "
            "range, such as '0.485 0.456 0.406 1'."
        ) from error
    if not (all(abs(value) <= _FLOAT32_MAX for value in (red, green, blue, span)) and span > 0):
        raise OptionError(f"The normalisation {normalise!r} is out of range. Expected finite numbers, and a range above 0.")
    return Normalisation((red, green, blue), span)
