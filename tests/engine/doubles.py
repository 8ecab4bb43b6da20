"""Stand-ins for the machine, the network and the streams, which tests pass to the engine in a `Context`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from span_arch import Context
from span_arch.engine.context import CpuCache, Probes
from span_arch.engine.device_copy import DeviceCopy
from span_arch.streaming import Stream

SMALL_CACHE = CpuCache(good=48 << 10, most=96 << 10, rows=8)
"""Makes small images take several strips, too."""


class Strips:
    """Makes streams that record the size of every strip, and may change or fail it.

    Args:
        meddle: receives the number of the strip, from 1, the size (rows, columns), and the output; returns the output to use, or raises.
    """

    def __init__(self, meddle: Callable[[int, tuple[int, int], Tensor], Tensor] | None = None) -> None:
        self.sizes: list[tuple[int, int]] = []
        self._meddle = meddle

    def __call__(self, *arguments: Any) -> Stream:
        strips = self

        class RecordedStream(Stream):
            def __call__(self, image: Tensor) -> Iterator[Tensor]:
                for rows in super().__call__(image):
                    size = self.strip, image.shape[3]
                    strips.sizes.append(size)
                    yield rows if strips._meddle is None else strips._meddle(len(strips.sizes), size, rows)

        return RecordedStream(*arguments)

    def context(self, **others: Any) -> Context:
        """Return a context in which these strips are used."""
        return Context(probes=Probes(stream=self, cache=SMALL_CACHE), **others)


class Tiles:
    """Makes device copies of networks that record the shape of every batch of tiles, and may change or fail it. Nothing is streamed.

    Args:
        meddle: receives the number of the batch, from 1, the batch, and a function that runs the network on it in the wanted type;
            returns the output to use, before it is clamped, or raises.
        busy_pixels: up to how many pixels run side by side.
    """

    def __init__(self, meddle: Callable[[int, Tensor, Callable[[], Tensor]], Tensor] | None = None, busy_pixels: int = 0) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self._meddle, self._busy_pixels = meddle, busy_pixels

    @property
    def areas(self) -> list[int]:
        """Pixels of a tile, for every batch."""
        return [shape[-2] * shape[-1] for shape in self.shapes]

    def __call__(self, *arguments: Any) -> DeviceCopy:
        tiles = self

        class RecordedCopy(DeviceCopy):
            def __call__(self, image: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
                tiles.shapes.append(tuple(image.shape))
                run = super().__call__
                if tiles._meddle is None:
                    return run(image, dtype)
                output = tiles._meddle(len(tiles.shapes), image.to(dtype), lambda: run(image, dtype)[0])
                return output.clamp(0, 1), output.sum((1, 2, 3), dtype=torch.float32)

        return RecordedCopy(*arguments)

    def context(self, probes: dict[str, Any] | None = None, **others: Any) -> Context:
        """Return a context in which networks run in tiles, recorded here."""
        chosen = {"plan_for": lambda model, mixed=False: None, "device_copy": self, "busy_pixels": lambda device: self._busy_pixels}
        return Context(probes=Probes(**chosen | (probes or {})), **others)
