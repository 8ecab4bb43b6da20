"""PSNR and SSIM by the convention of super-resolution papers.

Both compare the BT.601 luma of MATLAB's ``rgb2ycbcr`` (16 to 235) of 8-bit images, without a border as wide as the scale. They agree
with published figures to the second digit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ImageError

_LUMA = (65.481, 128.553, 24.966)
_SSIM_WINDOW, _SSIM_SIGMA = 11, 1.5
_SSIM_C1, _SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


@dataclass(frozen=True)
class Quality:
    """The similarity of an image to its original."""

    psnr: float
    """In dB, infinite for equal images."""
    ssim: float
    """1 for equal images."""


def quality(result: Tensor, original: Tensor, border: int) -> Quality:
    """Compare two images, (H, W, C) in 0..1 with C 1 or 3, after rounding them to 8 bits.

    Args:
        result: the image to assess.
        original: the reference, of the same shape.
        border: pixels to leave out on every side.

    Raises:
        ImageError: their shapes differ, or a window of 11 pixels does not fit inside the border.
    """
    if result.shape != original.shape:
        raise ImageError(f"The images have the shapes {tuple(result.shape)} and {tuple(original.shape)}. Expected the same shape for both.")
    if min(result.shape[:2]) - 2 * border < _SSIM_WINDOW:
        height, width = result.shape[:2]
        raise ImageError(
            f"The image of {width}x{height} pixels is too small. Without a border of {border}, each side must keep {_SSIM_WINDOW} pixels."
        )
    x, y = (_luma(image)[border : image.shape[0] - border, border : image.shape[1] - border] for image in (result, original))
    error = float((x - y).square().mean())
    return Quality(psnr=10 * math.log10(255**2 / error) if error else math.inf, ssim=_ssim(x, y))


def _luma(image: Tensor) -> Tensor:
    """Return the luma, (H, W) in 16..235 and float64, of an image, (H, W, C) in 0..1."""
    levels = image.double().clamp(0, 1).mul(255).round_().div_(255)
    if levels.shape[-1] == 1:
        levels = levels.expand(-1, -1, 3)
    return levels @ torch.tensor(_LUMA, dtype=torch.float64, device=image.device) + 16


def _ssim(x: Tensor, y: Tensor) -> float:
    """Return the structural similarity (Wang et al., 2004) with a Gaussian window, over the pixels where the whole window fits."""
    offsets = torch.arange(_SSIM_WINDOW, dtype=torch.float64, device=x.device) - _SSIM_WINDOW // 2
    gauss = torch.exp(-(offsets**2) / (2 * _SSIM_SIGMA**2))
    gauss /= gauss.sum()

    def blurred(image: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(image[None, None], gauss.view(1, 1, -1, 1)), gauss.view(1, 1, 1, -1))

    mean_x, mean_y = blurred(x), blurred(y)
    var_x, var_y, cov = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2, blurred(x * y) - mean_x * mean_y
    ssim = (2 * mean_x * mean_y + _SSIM_C1) * (2 * cov + _SSIM_C2) / ((mean_x**2 + mean_y**2 + _SSIM_C1) * (var_x + var_y + _SSIM_C2))
    return float(ssim.mean())
