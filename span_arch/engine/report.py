"""What an upscale was like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..image_ops.sizes import Pair


@dataclass(frozen=True)
class Report:
    """What an upscale was like. As a text it is one line."""

    frames: int
    source: Pair
    """Height and width of a frame, in pixels."""
    result: Pair
    """The same of its result."""
    passes: int
    """How often a frame has gone through the network."""
    method: str
    """Strips or tiles, and the type of the arithmetic."""
    device: str
    seconds: float
    redone: tuple[str, ...]
    """What had to be redone, a sentence for each kind."""

    @property
    def megapixels_per_second(self) -> float:
        """Of the result."""
        return self.frames * self.result[0] * self.result[1] / 1e6 / max(self.seconds, 1e-9)

    @property
    def frames_per_second(self) -> float:
        """How many frames a second took."""
        return self.frames / max(self.seconds, 1e-9)

    def __str__(self) -> str:
        many = f"{self.frames} x " if self.frames > 1 else ""
        speed = f", {self.frames_per_second:.1f} frames/s" if self.frames > 1 else ""
        passes = f", {self.passes} passes" if self.passes > 1 else ""
        (height, width), (tall, wide) = self.source, self.result
        sentences = "".join(f" {sentence}" for sentence in self.redone)
        return (
            f"{many}{width}x{height} to {wide}x{tall} in {self.seconds:.2f} s ({self.megapixels_per_second:.1f} MP/s{speed}); "
            f"{self.method}{passes}, {self.device}.{sentences}"
        )


Reporter = Callable[[Report], None]
"""Is told how an upscale was, once it has ended well."""
