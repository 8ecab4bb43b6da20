"""The contract between the pipeline and the runners that take frames through a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .._util import memory
from .report import Method, Recovered


@dataclass(frozen=True)
class Frame:
    """An image on its way through a network."""

    planes: Tensor
    """(planes, C, H, W): the input of the network."""
    result: Tensor
    """(C', H * scale, W * scale), to be written into."""
    join: Callable[[Tensor], Tensor]
    """Makes the colours, (C', h, w), from the network's output for all planes, (planes, C'', h, w)."""


class Runner(Protocol):
    """An object that runs a network on frames of one size."""

    @property
    def group(self) -> int:
        """The number of frames that are best run together."""
        ...

    @property
    def method(self) -> Method:
        """How frames go through the network at present; pieces become smaller when memory runs out."""
        ...

    @property
    def recovered(self) -> Recovered:
        """The failures that the runner has recovered from so far."""
        ...

    def run(self, frames: Iterable[Frame]) -> None:
        """Upscale frames into their results."""
        ...


def canvas(shape: Sequence[int], device: torch.device) -> Tensor:
    """Return an uninitialised tensor of a shape, (C, H, W), with channels last in memory.

    Raises:
        OutOfMemoryError: there is no room for it.
    """
    channels, height, width = shape
    return memory.empty((height, width, channels), device).movedim(-1, 0)
