"""An image on its way through a network, and who takes it there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """An image on its way through a network."""

    planes: Tensor
    """(planes, C, H, W), what the network is shown."""
    result: Tensor
    """(C', H * scale, W * scale), to be written into."""
    join: Callable[[Tensor], Tensor]
    """Makes colours, (C', h, w), of what the network gives for all planes, (planes, C'', h, w)."""


class Worker(Protocol):
    """Runs a network on frames of one size."""

    @property
    def group(self) -> int:
        """So many frames at a time are best."""
        ...

    @property
    def method(self) -> str:
        """How it goes about it, in a few words."""
        ...

    @property
    def redone(self) -> tuple[str, ...]:
        """What had to be redone so far, a sentence for each kind."""
        ...

    def run(self, frames: Iterable[Frame]) -> None:
        """Upscales frames."""
        ...
