"""Small previews of a result while it is made."""

from __future__ import annotations

import torch
from torch import Tensor

_SIDE = 512
"""Pixels of the longer side of a preview, at least, if the image has as many."""

_DIM = 0.25
"""Brightness of the part that is still to come."""


class Preview:
    """A preview of an image, made of single pixels that lie a step apart. It is a view: if the image changes, so does the preview."""

    def __init__(self) -> None:
        self._pixels: Tensor | None = None

    def __call__(self) -> Tensor | None:
        """Return (h, w, C) in 0..1, without alpha; None if there is no image yet."""
        return None if self._pixels is None else self._pixels.float().nan_to_num(0).clamp(0, 1).cpu()

    def show(self, image: Tensor) -> None:
        """Show an image, (H, W, C)."""
        step = max(1, max(image.shape[:2]) // _SIDE)
        self._pixels = image[::step, ::step, :3]

    def show_growing(self, image: Tensor, result: Tensor) -> None:
        """Show an empty result over a dim copy of its source, so that finished parts stand out. Both are (H, W, C)."""
        self.show(result)
        assert self._pixels is not None
        height, width, channels = self._pixels.shape
        if image.shape[-1] >= channels:
            rows, columns = (torch.arange(count) * side // count for count, side in ((height, image.shape[0]), (width, image.shape[1])))
            self._pixels.copy_(image[rows][:, columns][..., :channels] * _DIM)
