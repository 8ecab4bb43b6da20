"""Repeat an image beyond its edges and crop it again, for seamless textures."""

from __future__ import annotations

import torch
from torch import Tensor


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
