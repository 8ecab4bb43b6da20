"""Images with an alpha channel, prepared for the network.

Transparent pixels may have any colour, most often black, and the network would mix it into the visible edge as a dark fringe. So visible
colours are bled into transparent pixels first. Images are not premultiplied. Opaque images are not changed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .choices import Alpha
from .wrapping import crop, wrap

_INVISIBLE = 1 / 510
"""Alpha that rounds to 0 in 8 bits."""

_STEPS = (1, 3, 9, 27)
"""Distances of successive bleeding steps, in pixels. Together they reach 40 pixels, beyond the receptive field of SPAN."""


def is_opaque(frame: Tensor) -> bool:
    """Return whether a frame, (C, H, W), has no alpha channel, or one that is 1 everywhere."""
    return frame.shape[0] != 4 or bool((frame[3] >= 1).all())


def composed_channels(channels: int, alpha: Alpha) -> int:
    """Return how many of an image's channels are left after it is composed over a colour, if the setting says so."""
    return 3 if channels == 4 and not isinstance(alpha, str) else channels


def prepare_alpha(frame: Tensor, alpha: Alpha, seamless: str) -> Tensor:
    """Return a frame, (C, H, W), for the network: RGBA is composed over a colour, which gives RGB, or its colours are bled."""
    if frame.shape[0] != 4:
        return frame
    if isinstance(alpha, str):
        return frame if is_opaque(frame) else bleed(frame, seamless)
    return frame[:3] if is_opaque(frame) else _composed(frame, alpha)


def bleed(frame: Tensor, seamless: str = "") -> Tensor:
    """Give transparent pixels the colours of the visible ones near them, or the mean colour if those are more than 40 pixels away.

    Visible pixels and alpha do not change. A frame without visible pixels is returned as it is.

    Args:
        frame: (4, H, W), RGBA.
        seamless: the axes along which colours bleed across the edges, as `Seamless`.
    """
    visible = frame[3:] > _INVISIBLE
    weight = (frame[3:] * visible).float()
    if not visible.any():
        return frame
    known = torch.cat([frame[:3] * weight, weight])  # (4, H, W): colours times their weight, and the weight
    mean = known[:3].sum((1, 2), keepdim=True) / known[3:].sum()
    rows, columns = sum(_STEPS) * ("y" in seamless), sum(_STEPS) * ("x" in seamless)
    known = wrap(known, rows, columns)
    for step in _STEPS:
        known = torch.where(known[3:] > 0, known, _sum_around(known, step))
    known = crop(known, rows, columns)
    hidden = torch.where(known[3:] > 0, known[:3] / known[3:], mean)
    return torch.cat([torch.where(visible, frame[:3], hidden), frame[3:]])


def _sum_around(image: Tensor, step: int) -> Tensor:
    """Return the sum of each pixel of (C, H, W) and the eight pixels that are a step away in rows, columns or both."""
    for axis in (-2, -1):
        length = image.shape[axis] - step
        if length > 0:
            total = image.clone()
            total.narrow(axis, step, length).add_(image.narrow(axis, 0, length))
            total.narrow(axis, 0, length).add_(image.narrow(axis, step, length))
            image = total
    return image


def _composed(frame: Tensor, colour: Sequence[float]) -> Tensor:
    alpha = frame[3:].float().clamp(0, 1)
    return frame[:3] * alpha + torch.tensor(colour, device=frame.device)[:, None, None] * (1 - alpha)
