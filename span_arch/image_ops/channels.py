"""Images of 1, 3 or 4 channels, and networks of 1, 3 or 4 channels: each of the ones through each of the others.

=====  =========================  =======================  ================================
image  grey network               RGB network              RGBA network
=====  =========================  =======================  ================================
grey   as it is                   as three equal colours,  as three equal colours with
                                  whose mean it is again   opaque alpha; the colours' mean
RGB    each colour as an image    as it is                 with opaque alpha, dropped again
       of its own
RGBA   each colour as an image    the colours; alpha       as it is; opaque alpha stays that
       of its own; alpha beside   beside
=====  =========================  =======================  ================================

What becomes of alpha beside the network `transparency` says. A network with more or fewer channels at its end than at its beginning
gives what it gives.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..archs.record import CHANNELS
from ..errors import ImageError


@dataclass(frozen=True)
class Channels:
    """How the channels of an image meet those of a network."""

    image: int
    """Of the image, alpha included."""
    model_in: int
    model_out: int

    @property
    def alpha(self) -> bool:
        """Whether the last channel of the image goes beside the network."""
        return self.image == 4 and self.model_in != 4

    @property
    def keeps_alpha(self) -> bool:
        """Whether the last channel of the result is the alpha of the image, be it from the network or from beside it."""
        return self.alpha or self.image == self.model_in == self.model_out == 4

    @property
    def colours(self) -> int:
        """Channels of the result, without an alpha that went beside the network."""
        seen = self.image - self.alpha
        return seen if self.model_in == self.model_out else self.model_out

    @property
    def out(self) -> int:
        """Channels of the result."""
        return self.colours + self.alpha

    def split(self, frame: Tensor) -> Tensor:
        """(image, H, W) -> (planes, model_in, H, W): what the network is shown."""
        seen = frame[:-1] if self.alpha else frame
        if seen.shape[0] == self.model_in:
            return seen[None]
        if self.model_in == 1:
            return seen[:, None] if self.model_out == 1 else seen.mean(0, keepdim=True)[None]
        colour = seen.expand(3, -1, -1)
        return (torch.cat([colour, torch.ones_like(colour[:1])]) if self.model_in == 4 else colour)[None]

    def join(self, planes: Tensor) -> Tensor:
        """(planes, model_out, h, w) -> (colours, h, w): the colours of the result."""
        if planes.shape[0] > 1:
            return planes[:, 0]
        result = planes[0]
        if self.model_in != self.model_out or self.image - self.alpha == self.model_in:
            return result
        return result[:3].mean(0, keepdim=True) if self.image == 1 else result[: self.colours]


def check_image(image: Tensor) -> None:
    """Raises an error that says why a tensor is no batch of images.

    Raises:
        ImageError: it is not (B, H, W, C) of a floating type with C 1, 3 or 4, it has no pixels, or some are NaN or infinite.
    """
    if image.ndim != 4:
        raise ImageError(f"The image has the shape {tuple(image.shape)}; expected (batch, height, width, channels).")
    if not image.is_floating_point():
        raise ImageError(f"The image is of the type {image.dtype}; expected a floating type with values from 0 to 1. Divide it by 255.")
    if image.shape[-1] not in CHANNELS:
        raise ImageError(
            f"The image has {image.shape[-1]} channels (its shape is {tuple(image.shape)}); expected 1 (grey), 3 (RGB) or 4 (RGBA), last."
        )
    if image.numel() == 0:
        raise ImageError(f"The image has no pixels: its shape is {tuple(image.shape)}. Every side must be at least 1.")
    if not torch.isfinite(image).all():
        count = int((~torch.isfinite(image)).sum())
        raise ImageError(
            f"The image has {count:,} values that are NaN or infinite, of {image.numel():,}. What made it went wrong: a VAE in half "
            "precision is the usual cause. Make it again in full precision."
        )
