"""Continue an image beyond its edges by itself, and cut that off again: the tensor side of seamless textures."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from ..errors import OptionError

Seamless = Literal["", "x", "y", "xy"]
"""The axes along which an image repeats itself: left edge to right edge is x, top to bottom y."""


def check_seamless(seamless: str) -> None:
    """Raises an error for what is not one of `Seamless`.

    Raises:
        OptionError: it is not.
    """
    if seamless not in get_args(Seamless):
        raise OptionError(f"The image cannot be seamless in '{seamless}'; expected 'x', 'y' or 'xy', or nothing for an image with edges.")


def wrap(image: Tensor, rows: int, columns: int) -> Tensor:
    """(..., H, W) -> (..., H + 2 * rows, W + 2 * columns), continued by itself, several times where it is smaller than that."""
    for axis, margin in ((-2, rows), (-1, columns)):
        if margin:
            length = image.shape[axis]
            image = image.index_select(axis, torch.arange(-margin, length + margin, device=image.device) % length)
    return image


def crop(image: Tensor, rows: int, columns: int) -> Tensor:
    """What `wrap` was given, as a view of what it gave."""
    return image[..., rows : image.shape[-2] - rows, columns : image.shape[-1] - columns]
