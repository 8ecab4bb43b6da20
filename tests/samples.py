"""Small models and smooth images that many tests share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

import span_arch
from span_arch.archs.span import SPAN
from span_arch.models.build import FamilyModel, Model


def small_model(channels: int = 3, scale: int = 2, blocks: int = 2, out_channels: int | None = None) -> FamilyModel:
    """Return a small SPAN with random weights, always the same."""
    torch.manual_seed(0)
    out_channels = channels if out_channels is None else out_channels
    network = SPAN(in_channels=channels, out_channels=out_channels, feature_channels=8, blocks=blocks, scale=scale, normalisation=None)
    return span_arch.from_state_dict(network.state_dict())


def image(height: int = 60, width: int = 90, channels: int = 3, frames: int = 1) -> Tensor:
    """Return (frames, height, width, channels) in 0..1 without noise, on which random networks would amplify rounding."""
    torch.manual_seed(1)
    return F.interpolate(torch.rand(frames, channels, 9, 9), size=(height, width), mode="bicubic").clamp(0, 1).movedim(1, -1).contiguous()


def random_image(height: int = 20, width: int = 28, channels: int = 3, frames: int = 1) -> Tensor:
    """Return (frames, height, width, channels) of noise in 0..1, always the same."""
    return torch.rand(frames, height, width, channels, generator=torch.Generator().manual_seed(1))


def whole(network: Model, frames: Tensor) -> Tensor:
    """Return what calling the model gives for each frame as a whole."""
    with torch.no_grad():
        return torch.cat([network(frame[None].movedim(-1, 1)) for frame in frames]).movedim(1, -1)
