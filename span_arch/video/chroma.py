"""Conversion of subsampled chroma planes to full resolution by linear interpolation, and back without a loss.

Both directions are the low-pass halves of a biorthogonal pair, so that ``halve_columns(double_columns(plane, n)) == plane``. Chroma is
assumed on the left luma column of each pair and halfway between the two rows, the default of MPEG-2, H.264, HEVC and AV1. The pairs are
the 5/3 and 3/1 filters of Cohen, Daubechies and Feauveau, "Biorthogonal bases of compactly supported wavelets", 1992.
"""

from __future__ import annotations

import torch
from torch import Tensor


def double_columns(plane: Tensor, width: int) -> Tensor:
    """Return (H, width) for (H, ceil(width / 2)); sample ``i`` lies on column ``2 i``."""
    between = (plane + _next(plane)) / 2
    return _interleave(plane, between, width)


def halve_columns(plane: Tensor) -> Tensor:
    """Return (H, ceil(W / 2)) for (H, W): the even columns, plus a share of the odd columns' difference from their interpolation."""
    even, odd = plane[:, 0::2], plane[:, 1::2]
    if not odd.shape[1]:
        return even
    detail = odd - ((even + _next(even)) / 2)[:, : odd.shape[1]]
    if detail.shape[1] < even.shape[1]:
        detail = torch.cat((detail, detail[:, -1:]), 1)
    return even + (detail + _previous(detail)) / 4


def double_rows(plane: Tensor, height: int) -> Tensor:
    """Return (height, W) for (ceil(height / 2), W); sample ``i`` lies halfway between the rows ``2 i`` and ``2 i + 1``."""
    plane = plane.T
    upper, lower = (3 * plane + _previous(plane)) / 4, (3 * plane + _next(plane)) / 4
    return _interleave(upper, lower, height).T


def halve_rows(plane: Tensor) -> Tensor:
    """Return (ceil(H / 2), W) for (H, W)."""
    plane = plane.T
    upper, lower = plane[:, 0::2], plane[:, 1::2]
    if lower.shape[1] < upper.shape[1]:  # odd height: add the row that `double_rows` would have made
        last, above = upper[:, -1:], lower[:, -1:] if lower.shape[1] else upper[:, -1:]
        lower = torch.cat((lower, 1.5 * last - 0.5 * above), 1)
    above, below = torch.cat((upper[:, :1], lower[:, :-1]), 1), torch.cat((upper[:, 1:], lower[:, -1:]), 1)
    return ((3 * (upper + lower) - above - below) / 4).T


def _next(plane: Tensor) -> Tensor:
    return torch.cat((plane[:, 1:], plane[:, -1:]), 1)


def _previous(plane: Tensor) -> Tensor:
    return torch.cat((plane[:, :1], plane[:, :-1]), 1)


def _interleave(even: Tensor, odd: Tensor, width: int) -> Tensor:
    return torch.stack((even, odd), 2).flatten(1)[:, :width]
