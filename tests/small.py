"""Small models and images that several tests share."""

from __future__ import annotations

import torch
from torch import Tensor

import span_arch
from span_arch import FamilyModel
from span_arch.archs.span import SPAN


def small_model(channels: int = 3, scale: int = 2, blocks: int = 2, out_channels: int | None = None) -> FamilyModel:
    """Return a SPAN model with random weights, always the same."""
    torch.manual_seed(0)
    out_channels = channels if out_channels is None else out_channels
    network = SPAN(in_channels=channels, out_channels=out_channels, feature_channels=8, blocks=blocks, scale=scale, normalisation=None)
    return span_arch.from_state_dict(network.state_dict())


def random_image(height: int = 20, width: int = 28, channels: int = 3, frames: int = 1) -> Tensor:
    """Return (frames, height, width, channels) in 0..1, always the same."""
    return torch.rand(frames, height, width, channels, generator=torch.Generator().manual_seed(1))
