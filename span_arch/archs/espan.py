"""ESPAN: SPAN with a wide first convolution and a shorter last block, from the NTIRE 2025 challenge on efficient super-resolution.

Written from the contents of the published checkpoint. The challenge's code and weights are under the MIT licence. ESPAN is
published only in its fused form. Size in use: 32 feature channels, 5 blocks. Its ``tea`` names come from training with a teacher.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import SPAB, FusedConv3XC, ParameterFreeAttention
from .record import Architecture, count_blocks, scale_and_channels


class ShortSPAB(ParameterFreeAttention):
    """A `SPAB` with two convolutions that returns only its output. (B, c, H, W) -> (B, c, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.c1_r = FusedConv3XC(channels, channels)
        self.c2_r = FusedConv3XC(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        t = self.c2_r(F.silu(self.c1_r(x), inplace=True))
        return self.attended(t, x)


class ESPAN(nn.Module):
    """(B, in_channels, H, W) in 0..1 -> (B, out_channels, H * scale, W * scale), about 0..1.

    The arguments are those of `SPAN`. ``blocks`` counts the attention blocks of three convolutions.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        feature_channels: int = 32,
        blocks: int = 5,
        scale: int = 4,
    ) -> None:
        super().__init__()
        self.conv_1 = FusedConv3XC(in_channels, feature_channels, kernel_size=9)
        for i in range(1, blocks + 1):
            self.add_module(f"block_{i}", SPAB(feature_channels))
        self.teacher_block_seq = ShortSPAB(feature_channels)
        self.tea_conv_2 = FusedConv3XC(feature_channels, feature_channels)
        self.tea_conv_cat = nn.Conv2d(4 * feature_channels, feature_channels, 1)
        self.tea_upsampler = nn.Sequential(
            FusedConv3XC(feature_channels, out_channels * scale**2),
            nn.PixelShuffle(scale),
        )

    def forward(self, image: Tensor) -> Tensor:
        shallow = self.conv_1(image)
        first_block, *other_blocks = (module for module in self.children() if isinstance(module, SPAB))
        first, _ = first_block(shallow)
        x = first
        for block in other_blocks:
            x, _ = block(x)
        x = self.teacher_block_seq(x)
        return self.tea_upsampler(self.tea_conv_cat(torch.cat([shallow, self.tea_conv_2(x), first, x], 1)))


def _hyperparameters(state: Mapping[str, Tensor]) -> dict[str, Any]:
    in_channels = state["conv_1.eval_conv.weight"].shape[1]
    scale, out_channels = scale_and_channels(state["tea_upsampler.0.eval_conv.weight"].shape[0], in_channels)
    return {
        "in_channels": in_channels,
        "out_channels": out_channels,
        "feature_channels": state["conv_1.eval_conv.weight"].shape[0],
        "blocks": count_blocks(state, "block_{}.c1_r.eval_conv.weight"),
        "scale": scale,
    }


ARCHITECTURE = Architecture(
    name="ESPAN",
    module=ESPAN,
    keys=(
        "conv_1.eval_conv.weight",
        "block_1.c1_r.eval_conv.weight",
        "block_1.c2_r.eval_conv.weight",
        "block_1.c3_r.eval_conv.weight",
        "teacher_block_seq.c1_r.eval_conv.weight",
        "teacher_block_seq.c2_r.eval_conv.weight",
        "tea_conv_2.eval_conv.weight",
        "tea_conv_cat.weight",
        "tea_upsampler.0.eval_conv.weight",
    ),
    hyperparameters=_hyperparameters,
    normalised=False,
    has_training_form=False,
    examples=(lambda blocks: ESPAN(feature_channels=4, blocks=blocks),),
)
