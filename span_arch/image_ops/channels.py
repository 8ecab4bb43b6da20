"""The conversion of images of 1, 3 or 4 channels for networks of 1, 3 or 4 channels.

=====  ===========================  ========================  ===============================
image  grey network                 RGB network               RGBA network
=====  ===========================  ========================  ===============================
grey   unchanged                    as three equal colours,   as three equal colours with
                                    then their mean           opaque alpha, then the mean of
                                                              the colours
RGB    each colour on its own       unchanged                 with opaque alpha, dropped again
RGBA   each colour on its own;      the colours;              unchanged; opaque alpha stays
       alpha separately             alpha separately          opaque
=====  ===========================  ========================  ===============================

`transparency` describes what happens to separate alpha. If a network has different numbers of input and output channels, the result has
its output channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..archs.record import CHANNELS
from ..errors import ImageError


@dataclass(frozen=True)
class Channels:
    """The channels of an image and those of a network, and how one becomes the other."""

    image: int
    """Channels of the image, alpha included."""
    model_in: int
    model_out: int

    @property
    def alpha(self) -> bool:
        """True if the alpha channel of the image does not enter the network."""
        return self.image == 4 and self.model_in != 4

    @property
    def keeps_alpha(self) -> bool:
        """True if the last channel of the result is the alpha of the image, from the network or around it."""
        return self.alpha or self.image == self.model_in == self.model_out == 4

    @property
    def colours(self) -> int:
        """Channels of the result without separate alpha."""
        return self.image - self.alpha if self.model_in == self.model_out else self.model_out

    @property
    def out(self) -> int:
        """Channels of the result."""
        return self.colours + self.alpha

    def split(self, frame: Tensor) -> Tensor:
        """Return the input of the network, (planes, model_in, H, W), for a frame, (image, H, W)."""
        inner = frame[:-1] if self.alpha else frame
        if inner.shape[0] == self.model_in:
            return inner[None]
        if self.model_in == 1:
            return inner[:, None] if self.model_out == 1 else inner.mean(0, keepdim=True)[None]
        colour = inner.expand(3, -1, -1)
        return (torch.cat([colour, torch.ones_like(colour[:1])]) if self.model_in == 4 else colour)[None]

    def join(self, planes: Tensor) -> Tensor:
        """Return the colours of the result, (colours, h, w), from the output of the network, (planes, model_out, h, w)."""
        if planes.shape[0] > 1:
            return planes[:, 0]
        result = planes[0]
        if self.model_in != self.model_out or self.image - self.alpha == self.model_in:
            return result
        return result[:3].mean(0, keepdim=True) if self.image == 1 else result[: self.colours]


def check_image(image: Tensor) -> None:
    """Raise an error if a tensor is not a batch of images.

    Raises:
        ImageError: it is not (B, H, W, C) of a floating type with C 1, 3 or 4, it has no pixels, or some are NaN or infinite.
    """
    if image.ndim != 4:
        raise ImageError(f"The image has the shape {tuple(image.shape)}. Expected (batch, height, width, channels).")
    if not image.is_floating_point():
        raise ImageError(f"The image has the type {image.dtype}. Expected a floating type with values from 0 to 1. Divide it by 255.")
    if image.shape[-1] not in CHANNELS:
        raise ImageError(
            f"The image has {image.shape[-1]} channels (its shape is {tuple(image.shape)}). Expected 1 (grey), 3 (RGB) or 4 (RGBA) as the "
            "last dimension."
        )
    if image.numel() == 0:
        raise ImageError(f"The image has no pixels (its shape is {tuple(image.shape)}). Every side must be at least 1.")
    if not torch.isfinite(image).all():
        count = int((~torch.isfinite(image)).sum())
        raise ImageError(
            f"The image has {count:,} NaN or infinite values out of {image.numel():,}. The usual cause is a VAE in half precision. "
            "Create the image again in full precision."
        )
