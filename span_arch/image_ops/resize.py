"""Resizing with filters that do not alias: Lanczos, bicubic and area, each as two products with matrices, one for rows, one for columns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from ..errors import OptionError
from .sizes import Pair

Filter = Literal["lanczos", "bicubic", "area"]
FILTERS: tuple[str, ...] = get_args(Filter)

_AT_A_TIME = 64
"""Rows or columns that one product makes. All at once, most of its matrix would be zero."""


def check_filter(name: str) -> None:
    """Raises an error for a name that is none of `FILTERS`.

    Raises:
        OptionError: it is not.
    """
    if name not in FILTERS:
        raise OptionError(f"The filter '{name}' is unknown; expected {', '.join(FILTERS[:-1])} or {FILTERS[-1]}.")


class Resize:
    """Resizes frames of one size to another. The weights are made once.

    ``"lanczos"`` (of three lobes) and ``"bicubic"`` (a = -0.5) are those of Pillow and of torch with ``antialias=True``: where they
    shrink, they are widened by as much. ``"area"`` is the mean over the area that a pixel covers, for every ratio. Values are taken as
    they are, without regard to gamma.

    Args:
        filter: one of `FILTERS`.
        source: (height, width) of the frames.
        whole: (height, width) of a frame once it is resized.
        corner: (row, column) of the resized frame at which the result begins.
        size: (height, width) of the result.
        wrapped: whether what lies above and below, and to either side of a frame is the frame itself.
    """

    def __init__(
        self, filter: Filter, source: Pair, whole: Pair, corner: Pair, size: Pair, wrapped: tuple[bool, bool] = (False, False)
    ) -> None:
        kept = [range(first, first + count) for first, count in zip(corner, size, strict=True)]
        self._rows, self._columns = (_bands(filter, *axis) for axis in zip(source, whole, kept, wrapped, strict=True))

    def __call__(self, frame: Tensor, result: Tensor) -> None:
        """Resizes a frame, on the device where it is.

        Args:
            frame: (C, h, w) in float32.
            result: (C, H, W), of any type and on any device; written into, in 0..1.
        """
        for rows in self._rows:  # so that no more than a band is ever held
            band = torch.matmul(rows.weights_on(frame.device), rows.of(frame, 1))
            for columns in self._columns:
                piece = torch.matmul(columns.of(band, 2), columns.weights_on(frame.device).T)
                result[:, rows.made, columns.made] = piece.clamp_(0, 1).to(result)


@dataclass
class _Band:
    """Some rows or columns of the result, and those of the source that they are made of."""

    made: slice
    read: range
    weights: Tensor
    """(made, read)"""

    def of(self, image: Tensor, axis: int) -> Tensor:
        """What is read of an image, which is continued by itself where that lies beyond its edges."""
        length = image.shape[axis]
        if self.read.start >= 0 and self.read.stop <= length:
            return image.narrow(axis, self.read.start, len(self.read))
        return image.index_select(axis, torch.arange(self.read.start, self.read.stop, device=image.device) % length)

    def weights_on(self, device: torch.device) -> Tensor:
        """The weights, which stay where they were last."""
        self.weights = self.weights.to(device)
        return self.weights


def _bands(filter: Filter, source: int, whole: int, kept: range, wrapped: bool) -> list[_Band]:
    """One axis: the kept part of ``whole`` pixels that are made of ``source``."""
    ratio = source / whole
    reach, weigh = _KERNELS[filter]
    bands: list[_Band] = []
    for start in range(0, len(kept), _AT_A_TIME):
        made = kept[start : start + _AT_A_TIME]
        centres = (torch.tensor(made, dtype=torch.float64) + 0.5) * ratio
        margin = reach * max(ratio, 1) + 1
        first, last = math.floor(float(centres[0]) - margin), math.floor(float(centres[-1]) + margin) + 1
        if not wrapped:
            first, last = max(0, first), min(source, last)
        offsets = torch.arange(first, last, dtype=torch.float64) + 0.5 - centres[:, None]
        weights = weigh(offsets, ratio)
        weights /= weights.sum(1, keepdim=True)  # what lies beyond the edges counts for nothing
        bands.append(_Band(slice(start, start + len(made)), range(first, last), weights.float()))
    return bands


def _lanczos(offsets: Tensor, ratio: float) -> Tensor:
    x = offsets / max(ratio, 1)
    return torch.where(x.abs() < 3, torch.sinc(x) * torch.sinc(x / 3), 0)


def _bicubic(offsets: Tensor, ratio: float) -> Tensor:
    """Of Keys (1981)."""
    x = (offsets / max(ratio, 1)).abs()
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, 0))


def _area(offsets: Tensor, ratio: float) -> Tensor:
    """How much of a source's pixel, one wide, a pixel of the result, ``ratio`` wide, covers; of the only one that it meets, anything."""
    return (0.5 + ratio / 2 - offsets.abs()).clamp(0, 1)


_KERNELS: dict[Filter, tuple[float, Callable[[Tensor, float], Tensor]]] = {
    "lanczos": (3, _lanczos),
    "bicubic": (2, _bicubic),
    "area": (1, _area),
}
