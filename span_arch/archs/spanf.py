"""SPANF: SPAN with nearest-neighbour features, from the NTIRE 2025 challenge on efficient super-resolution.

Written from the contents of the published checkpoint. The challenge's code and weights are under the MIT licence. SPANF is
published only in its fused form. Size in use: 32 feature channels, 5 blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import SPAB, FusedConv3XC
from .record import Architecture, count_blocks, scale_and_channels


class Entry(nn.Module):
    """The first block: three convolutions. It has no attention, because its input and its output differ in channels.

    (B, c_in, H, W) -> (B, c_out, H, W).
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.c1_r = FusedConv3XC(c_in, c_out)
        self.c2_r = FusedConv3XC(c_out, c_out)
        self.c3_r = FusedConv3XC(c_out, c_out)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.c1_r(x), inplace=True)
        return self.c3_r(F.silu(self.c2_r(x), inplace=True))


class SPANF(nn.Module):
    """(B, in_channels, H, W) in 0..1 -> (B, out_channels, H * scale, W * scale), about 0..1.

    The arguments are those of `SPAN`. All but the first of the ``blocks`` are attention blocks.
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
        near_channels = in_channels * scale**2
        # Its training started from weights that repeat each pixel scale**2 times, as nearest-neighbour upscaling does.
        self.conv_near = nn.Conv2d(in_channels, near_channels, 3, padding=1, groups=in_channels, bias=False)
        self.block_1 = Entry(in_channels, feature_channels)
        for i in range(2, blocks + 1):
            self.add_module(f"block_{i}", SPAB(feature_channels))
        self.conv_cat = nn.Conv2d(2 * feature_channels + near_channels, feature_channels, 1)
        self.conv_2 = FusedConv3XC(feature_channels, out_channels * scale**2)
        self.depth_to_space = nn.PixelShuffle(scale)

    def forward(self, image: Tensor) -> Tensor:
        x = first = self.block_1(image)
        for block in (module for module in self.children() if isinstance(module, SPAB)):
            x, _ = block(x)
        return self.depth_to_space(self.conv_2(self.conv_cat(torch.cat([self.conv_near(image), x, first], 1))))


def _hyperparameters(state: Mapping[str, Tensor]) -> dict[str, Any]:
    in_channels = state["block_1.c1_r.eval_conv.weight"].shape[1]
    scale, _ = scale_and_channels(state["conv_near.weight"].shape[0], in_channels)
    return {
        "in_channels": in_channels,
        "out_channels": max(1, state["conv_2.eval_conv.weight"].shape[0] // scale**2),  # the check of the shapes finds 0
        "feature_channels": state["block_1.c1_r.eval_conv.weight"].shape[0],
        "blocks": count_blocks(state, "block_{}.c1_r.eval_conv.weight"),
        "scale": scale,
    }


ARCHITECTURE = Architecture(
    name="SPANF",
    module=SPANF,
    keys=(
        "conv_near.weight",
        "block_1.c1_r.eval_conv.weight",
        "block_1.c2_r.eval_conv.weight",
        "block_1.c3_r.eval_conv.weight",
        "conv_cat.weight",
        "conv_2.eval_conv.weight",
    ),
    hyperparameters=_hyperparameters,
    normalised=False,
    has_training_form=False,
    examples=(lambda blocks: SPANF(feature_channels=4, blocks=blocks),),
)
