"""What a network does to its image before the first convolution."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Normalisation:
    """``(image - mean) * range``, image in 0..1, R G B. No network of the family undoes it at its end."""

    mean: tuple[float, float, float]
    range: float

    def __str__(self) -> str:
        return f"(x - ({', '.join(f'{m:g}' for m in self.mean)})) * {self.range:g}"


PAPER = Normalisation(mean=(0.4488, 0.4371, 0.4040), range=255.0)
"""What the authors train with: the mean of DIV2K, and 8 bit levels."""
