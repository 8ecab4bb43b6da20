"""The report of a finished upscale: data, and one line of text made from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..image_ops.sizes import Pair


@dataclass(frozen=True)
class Method:
    """How frames went through the network."""

    kind: str
    """``"strips"``, or ``"tiles"``."""
    count: int
    """Pieces of a frame in each pass; for strips, 1 if the whole frame fits into one, else 0, since their number is not fixed."""
    size: Pair
    """Height and width of a piece without its halo, in pixels of the network's input."""
    precision: str
    """The type of the arithmetic, such as ``"float32"``."""
    ensemble: bool = False
    """True if the result is the mean over eight orientations."""

    def __str__(self) -> str:
        height, width = self.size
        if self.kind == "strips":
            pieces = "one strip" if self.count == 1 else f"strips of {height} rows"
        else:
            pieces = f"{self.count} tile{'s' * (self.count > 1)} of {width}x{height}"
        return f"{'mean of eight, ' * self.ensemble}{pieces}, {self.precision}"


@dataclass(frozen=True)
class Recovered:
    """Failures that a run recovered from."""

    out_of_memory: int = 0
    """How often memory ran out, so that pieces became smaller."""
    not_finite: int = 0
    """How many pieces gave NaN or infinity and were redone in float32."""
    saturated: int = 0
    """How many pieces were redone in float32 because many features reached their limits, as on patterns of one pixel."""

    def __add__(self, other: Recovered) -> Recovered:
        return Recovered(self.out_of_memory + other.out_of_memory, self.not_finite + other.not_finite, self.saturated + other.saturated)

    def __str__(self) -> str:
        """Return a sentence for each kind of failure; empty if there was none."""
        sentences: list[str] = []
        if self.not_finite:
            sentences.append(
                f"{_times(self.not_finite, 'piece')} gave NaN or infinity and {'was' if self.not_finite == 1 else 'were'} "
                "redone in float32."
            )
        if self.saturated:
            sentences.append(f"{_times(self.saturated, 'piece')} with patterns of one pixel took float32.")
        if self.out_of_memory:
            sentences.append(f"Memory ran out {_times(self.out_of_memory, 'time')}; smaller pieces were used.")
        return " ".join(sentences)


@dataclass(frozen=True)
class Report:
    """The facts about a finished upscale. ``str`` makes one line of it."""

    frames: int
    source: Pair
    """Height and width of a frame, in pixels."""
    result: Pair
    """Height and width of its result, in pixels."""
    passes: int
    """How often each frame went through the network."""
    method: Method
    device: str
    seconds: float
    recovered: Recovered = Recovered()
    warning: str = ""
    """A text that says that the colours may be wrong; empty if nothing points to that."""

    @property
    def megapixels_per_second(self) -> float:
        """The speed in pixels of the result."""
        return self.frames * self.result[0] * self.result[1] / 1e6 / max(self.seconds, 1e-9)

    @property
    def frames_per_second(self) -> float:
        """The speed in frames."""
        return self.frames / max(self.seconds, 1e-9)

    def __str__(self) -> str:
        many = f"{self.frames} x " if self.frames > 1 else ""
        speed = f", {self.frames_per_second:.1f} frames/s" if self.frames > 1 else ""
        passes = f", {self.passes} passes" if self.passes > 1 else ""
        (height, width), (tall, wide) = self.source, self.result
        return (
            f"{many}{width}x{height} to {wide}x{tall} in {self.seconds:.2f} s ({self.megapixels_per_second:.1f} MP/s{speed}); "
            f"{self.method}{passes}, {self.device}. {self.recovered}"
        ).rstrip() + f" {self.warning}" * bool(self.warning)


Reporter = Callable[[Report], None]
"""Receives the report of an upscale that ended well."""


def total(recovered: Iterable[Recovered]) -> Recovered:
    """Add up the failures of several runs."""
    return sum(recovered, Recovered())


def _times(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
