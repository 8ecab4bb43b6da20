"""Small copies of a result while it is made."""

from __future__ import annotations

import torch
from torch import Tensor

_SIDE = 512
"""Pixels of the longer side of a preview."""

_DIM = 0.25
"""Brightness of the part that is still to come."""


class GrowingPreview:
    """A preview of a result while it fills: of a single image, how far it is; of a batch, the last image that is finished.

    It looks at single pixels of the result, a step apart. For a single image these hold a dim copy of the source at first, so that
    finished parts stand out.

    Args:
        image: (B, H, W, C), the source.
        result: (B, H', W', C'), still empty.
    """

    def __init__(self, image: Tensor, result: Tensor) -> None:
        self._pixels = sampled(result)
        self.finished = 0
        """Images of the batch that are finished."""
        if len(image) == 1 and image.shape[-1] >= self._pixels.shape[-1]:
            _, height, width, channels = self._pixels.shape
            rows, columns = (torch.arange(count) * side // count for count, side in ((height, image.shape[1]), (width, image.shape[2])))
            self._pixels.copy_(image[:, rows][:, :, columns][..., :channels] * _DIM)

    def __call__(self) -> Tensor | None:
        """Return (h, w, C) in 0..1, or None if no image is finished yet."""
        if len(self._pixels) > 1 and not self.finished:
            return None
        return self._pixels[max(0, self.finished - 1)].float().nan_to_num(0).clamp(0, 1).cpu()


class FramePreview:
    """A preview of the last frame that was finished."""

    def __init__(self) -> None:
        self._pixels: Tensor | None = None

    def __call__(self) -> Tensor | None:
        """Return (h, w, C) in 0..1, or None before the first frame."""
        return self._pixels

    def keep(self, frame: Tensor) -> None:
        """Keep a small copy of a frame, (H, W, C)."""
        self._pixels = sampled(frame[None])[0].float().cpu()


def sampled(images: Tensor) -> Tensor:
    """Return a view of some pixels of (B, H, W, C), at most 1023 to a side, without alpha."""
    step = max(1, max(images.shape[1:3]) // _SIDE)
    return images[:, ::step, ::step, :3]
