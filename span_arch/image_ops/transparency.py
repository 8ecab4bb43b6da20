"""Images with alpha: what the network is shown of them, and what becomes of alpha.

Under what is transparent an image may hold any colour, black most often. The network would mix it into the visible edge, as a dark
fringe. So visible colours are bled under it first. Images are not premultiplied with alpha. Opaque ones are left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor

from ..errors import OptionError
from .wrap import crop, wrap

Alpha = Literal["resize", "model"] | tuple[float, float, float]
"""What becomes of alpha: it is resized, or upscaled by the model, or the image is composed over a colour, R, G and B in 0..1."""

_INVISIBLE = 1 / 510
"""Alpha below which 8 bits hold none."""

_STEPS = (1, 3, 9, 27)
"""Pixels by which colour is bled, one after the other, each from all that is known by then: together 40, further than SPAN sees."""


def check_alpha(alpha: object) -> None:
    """Raises an error if a setting is not one of `Alpha`.

    Raises:
        OptionError: it is not.
    """
    if isinstance(alpha, str):
        good = alpha in ("resize", "model")
    else:
        levels = list(cast(Sequence[object], alpha)) if isinstance(alpha, (tuple, list)) else []
        good = len(levels) == 3 and all(isinstance(level, (int, float)) and 0 <= level <= 1 for level in levels)
    if not good:
        raise OptionError(
            f"The alpha {alpha!r} makes no sense; expected 'resize', 'model', or a colour to compose over, three numbers from 0 to 1 "
            "such as (1, 1, 1) for white."
        )


def is_opaque(frame: Tensor) -> bool:
    """Whether all of a frame, (C, H, W), is to be seen: it has no alpha, or one that is 1 throughout."""
    return frame.shape[0] != 4 or bool((frame[3] >= 1).all())


def shown(frame: Tensor, alpha: Alpha, seamless: str) -> Tensor:
    """What the network is to be shown of a frame, (C, H, W): of RGBA, RGB composed over a colour, or RGBA with colour bled."""
    if frame.shape[0] != 4:
        return frame
    if isinstance(alpha, str):
        return frame if is_opaque(frame) else bleed(frame, seamless)
    return frame[:3] if is_opaque(frame) else _over(frame, alpha)


def bleed(frame: Tensor, seamless: str = "") -> Tensor:
    """Gives what is transparent the colours of what is visible beside it; to any side, beyond 40 pixels, those of all on average.

    Visible pixels and alpha stay as they are; so does all, if nothing is visible.

    Args:
        frame: (4, H, W), RGBA.
        seamless: the axes along which colours bleed from one edge to the other, as `Seamless`.
    """
    visible = frame[3:] > _INVISIBLE
    weight = (frame[3:] * visible).float()
    if not visible.any():
        return frame
    known = torch.cat([frame[:3] * weight, weight])  # (4, H, W): colours, each times its weight, and weights
    mean = known[:3].sum((1, 2), keepdim=True) / known[3:].sum()
    rows, columns = sum(_STEPS) * ("y" in seamless), sum(_STEPS) * ("x" in seamless)
    known = wrap(known, rows, columns)
    for step in _STEPS:
        known = torch.where(known[3:] > 0, known, _spread(known, step))
    known = crop(known, rows, columns)
    hidden = torch.where(known[3:] > 0, known[:3] / known[3:], mean)
    return torch.cat([torch.where(visible, frame[:3], hidden), frame[3:]])


def _spread(image: Tensor, step: int) -> Tensor:
    """The sum of every pixel of (C, H, W) and of the eight that are a step away from it in rows, columns or both."""
    for axis in (-2, -1):
        length = image.shape[axis] - step
        if length > 0:
            total = image.clone()
            total.narrow(axis, step, length).add_(image.narrow(axis, 0, length))
            total.narrow(axis, 0, length).add_(image.narrow(axis, step, length))
            image = total
    return image


def _over(frame: Tensor, colour: Sequence[float]) -> Tensor:
    alpha = frame[3:].float().clamp(0, 1)
    return frame[:3] * alpha + torch.tensor(colour, device=frame.device)[:, None, None] * (1 - alpha)
