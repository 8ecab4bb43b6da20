"""Antialiased resizing with Lanczos, bicubic and area filters, as a matrix product for the rows and one for the columns."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .choices import Filter
from .sizes import Pair

_BAND = 64
"""Rows or columns of the result that one product computes. A single matrix for all of them would be mostly zero."""


class Resize:
    """A resize from one size to another. The weights are computed once, for any number of frames.

    ``"lanczos"`` (three lobes) and ``"bicubic"`` (a = -0.5) equal those of Pillow and of torch with ``antialias=True``: to shrink an image,
    they become wider by the ratio. ``"area"`` is the mean over the area that a pixel covers, for every ratio. Values are not linearised.

    Args:
        filter: one of `FILTERS`.
        source: (height, width) of the frames.
        whole: (height, width) of a frame after the resize.
        size: (height, width) of the result, which is the middle of the resized frame.
        wrapped: for rows and for columns, True if the frame repeats beyond its edges.
    """

    def __init__(self, filter: Filter, source: Pair, whole: Pair, size: Pair, wrapped: tuple[bool, bool] = (False, False)) -> None:
        self._rows, self._columns = (_bands(filter, *axis) for axis in zip(source, whole, size, wrapped, strict=True))

    def __call__(self, frame: Tensor, result: Tensor) -> None:
        """Resize a frame on its own device.

        Args:
            frame: (C, h, w) in float32.
            result: (C, H, W) of any type and on any device. The values written to it are in 0..1.
        """
        for rows in self._rows:  # band by band, to save memory
            band = torch.matmul(rows.weights_on(frame.device), rows.read(frame, 1))
            for columns in self._columns:
                piece = torch.matmul(columns.read(band, 2), columns.weights_on(frame.device).T)
                result[:, rows.target, columns.target] = piece.clamp_(0, 1).to(result)


@dataclass
class _Band:
    """Neighbouring rows or columns of the result, and the range of the source that they depend on."""

    target: slice
    source: range
    weights: Tensor
    """(target, source)"""

    def read(self, image: Tensor, axis: int) -> Tensor:
        """Return the source range of an image, which repeats beyond its edges."""
        length = image.shape[axis]
        if self.source.start >= 0 and self.source.stop <= length:
            return image.narrow(axis, self.source.start, len(self.source))
        return image.index_select(axis, torch.arange(self.source.start, self.source.stop, device=image.device) % length)

    def weights_on(self, device: torch.device) -> Tensor:
        """Return the weights, which stay on the device where they were used last."""
        self.weights = self.weights.to(device)
        return self.weights


def _bands(filter: Filter, source: int, whole: int, size: int, wrapped: bool) -> list[_Band]:
    """Return the bands of one axis that compute the middle ``size`` pixels of a resize from ``source`` to ``whole`` pixels."""
    ratio, corner = source / whole, (whole - size) // 2
    reach, weigh = _KERNELS[filter]
    bands: list[_Band] = []
    for start in range(0, size, _BAND):
        stop = min(start + _BAND, size)
        centres = (torch.arange(corner + start, corner + stop, dtype=torch.float64) + 0.5) * ratio
        margin = reach * max(ratio, 1) + 1
        first, last = math.floor(float(centres[0]) - margin), math.floor(float(centres[-1]) + margin) + 1
        if not wrapped:
            first, last = max(0, first), min(source, last)
        offsets = torch.arange(first, last, dtype=torch.float64) + 0.5 - centres[:, None]
        weights = weigh(offsets, ratio)
        weights /= weights.sum(1, keepdim=True)  # pixels beyond the edges do not count
        bands.append(_Band(slice(start, stop), range(first, last), weights.float()))
    return bands


def _lanczos(offsets: Tensor, ratio: float) -> Tensor:
    x = offsets / max(ratio, 1)
    return torch.where(x.abs() < 3, torch.sinc(x) * torch.sinc(x / 3), 0)


def _bicubic(offsets: Tensor, ratio: float) -> Tensor:
    """Return the weights of Keys (1981)."""
    x = (offsets / max(ratio, 1)).abs()
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, 0))


def _area(offsets: Tensor, ratio: float) -> Tensor:
    """Return how much of each source pixel, of width 1, a result pixel of width ``ratio`` covers."""
    return (0.5 + ratio / 2 - offsets.abs()).clamp(0, 1)


_KERNELS: dict[Filter, tuple[float, Callable[[Tensor, float], Tensor]]] = {
    "lanczos": (3, _lanczos),
    "bicubic": (2, _bicubic),
    "area": (1, _area),
}
