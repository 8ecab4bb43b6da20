"""DSCF: SPAN with neighbouring convolutions merged, from the NTIRE 2026 challenge on efficient super-resolution.

Written from the challenge's description and the contents of the published checkpoint. The challenge's code and weights are under the MIT
licence. The merging changes the graph, so a DSCF file does not load as SPAN. The DSCF of the 2025 challenge is a SPAN. Size in use: 26
feature channels, 6 blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import SPAB, FusedConv3XC, ParameterFreeAttention
from .normalisation import PAPER, Normalisation
from .record import Architecture, count_blocks, scale_and_channels


class MergedSPAB(ParameterFreeAttention):
    """A `SPAB` whose first convolution was merged with the one before the block.

    The block's input and the output of the merged convolution, both (B, c, H, W) -> the block's output and the activated output of the
    merged convolution, both (B, c, H, W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.c2_r = FusedConv3XC(channels, channels)
        self.c3_r = FusedConv3XC(channels, channels)

    def forward(self, x: Tensor, merged: Tensor) -> tuple[Tensor, Tensor]:
        middle = F.silu(merged, inplace=True)
        t = self.c3_r(F.silu(self.c2_r(middle), inplace=True))
        return self.attended(t, x), middle


class DSCF(nn.Module):
    """(B, in_channels, H, W) in 0..1 -> (B, out_channels, H * scale, W * scale), about 0..1. The arguments are those of `SPAN`."""

    mean: Tensor

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        feature_channels: int = 26,
        blocks: int = 6,
        scale: int = 4,
        normalisation: Normalisation | None = PAPER,
    ) -> None:
        super().__init__()
        self.normalisation = normalisation
        if normalisation is not None:
            self.register_buffer("mean", torch.tensor(normalisation.mean).view(1, 3, 1, 1), persistent=False)
        self.conv_1 = FusedConv3XC(in_channels, feature_channels)
        self.conv_fused = nn.Conv2d(in_channels, feature_channels, 5, padding=2)
        self.block_1 = MergedSPAB(feature_channels)
        for i in range(2, blocks + 1):
            self.add_module(f"block_{i}", SPAB(feature_channels))
        self.conv_cat_other = nn.Conv2d(3 * feature_channels, feature_channels, 1)
        self.conv2_fused = nn.Conv2d(feature_channels, feature_channels, 3, padding=1, bias=False)
        self.upsampler = nn.Sequential(
            nn.Conv2d(feature_channels, out_channels * scale**2, 3, padding=1),
            nn.PixelShuffle(scale),
        )

    def forward(self, image: Tensor) -> Tensor:
        if self.normalisation is not None:
            image = (image - self.mean) * self.normalisation.range
        shallow = self.conv_1(image)
        first, middle = self.block_1(shallow, self.conv_fused(image))
        last = first
        for block in (module for module in self.children() if isinstance(module, SPAB)):
            last, middle = block(last)
        return self.upsampler(self.conv_cat_other(torch.cat([shallow, first, middle], 1)) + self.conv2_fused(last))


def _hyperparameters(state: Mapping[str, Tensor]) -> dict[str, Any]:
    in_channels = state["conv_1.eval_conv.weight"].shape[1]
    scale, out_channels = scale_and_channels(state["upsampler.0.weight"].shape[0], in_channels)
    return {
        "in_channels": in_channels,
        "out_channels": out_channels,
        "feature_channels": state["conv_1.eval_conv.weight"].shape[0],
        "blocks": count_blocks(state, "block_{}.c2_r.eval_conv.weight"),
        "scale": scale,
    }


ARCHITECTURE = Architecture(
    name="DSCF",
    module=DSCF,
    keys=(
        "conv_1.eval_conv.weight",
        "conv_fused.weight",
        "block_1.c2_r.eval_conv.weight",
        "block_1.c3_r.eval_conv.weight",
        "conv_cat_other.weight",
        "conv2_fused.weight",
        "upsampler.0.weight",
    ),
    hyperparameters=_hyperparameters,
    normalised=True,
    normalisation=PAPER,
    has_training_form=False,
    examples=(lambda blocks: DSCF(feature_channels=4, blocks=blocks),),
)
