"""Textures: images whose opposite edges meet, and that still do when they are larger.

The image is continued beyond its edges by itself, as far as the network sees, and what comes of that is cut off again. So the edges
come out as they would in the midst of a wall of such tiles. That is exact for networks that see to a known distance; on a grid
coarser than pixels, as where a network begins with an unshuffle, for images with sides that are a multiple of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import Tensor

from .._util import memory
from ..image_ops.wrap import Seamless, crop, wrap
from ..models.build import Model
from ..streaming.receptive_field import receptive_field
from .prepared_plan import plan_for
from .runner import Frame, Worker

_GENEROUS = 64
"""Pixels for networks that see without a known end: as much as matters, and a multiple of the windows of transformers."""


def margins(model: Model, seamless: Seamless) -> tuple[int, int]:
    """Rows above and below, and columns to either side, by which an image has to be continued for a network."""
    margin = _margin(model) if seamless else 0
    return margin * ("y" in seamless), margin * ("x" in seamless)


def _margin(model: Model) -> int:
    plan = plan_for(model)
    if plan is not None:
        halo, unit = plan.halo, plan.unit
    elif (sight := receptive_field(model.model)) is not None:
        halo, unit = sight.radius, sight.unit
    else:
        halo, unit = _GENEROUS, 1
    return math.ceil(halo / unit) * unit  # so that the image lies on the network's grid as it does without a margin


class Wrapped:
    """Runs frames that are continued by themselves.

    Args:
        worker: upscales the frames that are so much larger.
        rows: above and below.
        columns: to either side.
        scale: of the result.
    """

    def __init__(self, worker: Worker, rows: int, columns: int, scale: int) -> None:
        self._worker, self._rows, self._columns, self._scale = worker, rows, columns, scale
        self.group = worker.group

    @property
    def method(self) -> str:
        """How it goes about it, in a few words."""
        return self._worker.method

    @property
    def redone(self) -> tuple[str, ...]:
        """What had to be redone so far, a sentence for each kind."""
        return self._worker.redone

    def run(self, frames: Iterable[Frame]) -> None:
        """Upscales frames."""
        frames = list(frames)
        larger = [Frame(wrap(frame.planes, self._rows, self._columns), self._canvas(frame.result), frame.join) for frame in frames]
        self._worker.run(larger)
        for frame, large in zip(frames, larger, strict=True):
            frame.result.copy_(crop(large.result, self._rows * self._scale, self._columns * self._scale))

    def _canvas(self, result: Tensor) -> Tensor:
        channels, height, width = result.shape
        shape = (height + 2 * self._rows * self._scale, width + 2 * self._columns * self._scale, channels)
        return memory.empty(shape, result.device).movedim(-1, 0)
