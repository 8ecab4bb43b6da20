"""Repeat an image beyond its edges and crop it again, for seamless textures."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from ..errors import OptionError

Seamless = Literal["", "x", "y", "xy"]
"""The axes along which an image repeats. On x the left edge continues at the right edge, on y the top at the bottom."""


def check_seamless(seamless: str) -> None:
    """Raise an error if a setting is not one of `Seamless`.

    Raises:
        OptionError: it is not.
    """
    if seamless not in get_args(Seamless):
        raise OptionError(f"The seamless axes are {seamless!r}. Expected 'x', 'y' or 'xy', or '' for an image with edges.")


def wrap(image: Tensor, rows: int, columns: int) -> Tensor:
    """Return (..., H + 2 * rows, W + 2 * columns): the image continued by its own repetition, several times if it is smaller than that."""
    for axis, margin in ((-2, rows), (-1, columns)):
        if margin:
            length = image.shape[axis]
            image = image.index_select(axis, torch.arange(-margin, length + margin, device=image.device) % length)
    return image


def crop(image: Tensor, rows: int, columns: int) -> Tensor:
    """Return a view of an image without the margins that `wrap` added."""
    return image[..., rows : image.shape[-2] - rows, columns : image.shape[-1] - columns]
