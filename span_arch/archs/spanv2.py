"""SPANV2: SPANF with learned attention and a depthwise tail; the winner of the NTIRE 2026 challenge on efficient super-resolution.

Written from the contents of the published checkpoint and the challenge's description. The challenge's code and weights are under the MIT
licence. SPANV2 is published only in its fused form. Size in use: 32 feature channels, 5 blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .bounds import Bound
from .record import Architecture, count_blocks, scale_and_channels


class Conv(nn.Module):
    """A 3x3 convolution under the name that the files give it. (B, c_in, H, W) -> (B, c_out, H, W)."""

    def __init__(self, c_in: int, c_out: int, *, bias: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class ReLUEntry(nn.Module):
    """The first block: three convolutions, each with a ReLU. It has no attention, because its input and output differ in channels.

    (B, c_in, H, W) -> (B, c_out, H, W).
    """

    def __init__(self, c_in: int, c_out: int, *, bias: bool) -> None:
        super().__init__()
        self.c1 = Conv(c_in, c_out, bias=bias)
        self.c2 = Conv(c_out, c_out, bias=bias)
        self.c3 = Conv(c_out, c_out, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.c1(x), inplace=True)
        x = F.relu(self.c2(x), inplace=True)
        return F.relu(self.c3(x), inplace=True)


class GuidedBlock(nn.Module):
    """A swift attention block whose attention is a learned 1x1 convolution, without an activation. (B, c, H, W) -> (B, c, H, W)."""

    def __init__(self, channels: int, *, bias: bool) -> None:
        super().__init__()
        self.c1 = Conv(channels, channels, bias=bias)
        self.c2 = Conv(channels, channels, bias=bias)
        self.c3 = Conv(channels, channels, bias=bias)
        self.guidance_map_conv = nn.Conv2d(channels, channels, 1)
        self.bound = Bound(channels)

    def forward(self, x: Tensor) -> Tensor:
        t = F.relu(self.c1(x), inplace=True)
        t = self.c3(F.relu(self.c2(t), inplace=True))
        return self.bound((x + t) * self.guidance_map_conv(t))


class SPANV2(nn.Module):
    """(B, in_channels, H, W) in 0..1 -> (B, out_channels, H * scale, W * scale), about 0..1.

    The arguments are those of `SPAN`. All but the first of the ``blocks`` are attention blocks. ``bias`` adds biases to the convolutions of
    the blocks and of the tail, as the authors' code can.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        feature_channels: int = 32,
        blocks: int = 5,
        scale: int = 4,
        bias: bool = False,
    ) -> None:
        super().__init__()
        near_channels = in_channels * scale**2
        self.block_1 = ReLUEntry(in_channels, feature_channels, bias=bias)
        for i in range(2, blocks + 1):
            self.add_module(f"block_{i}", GuidedBlock(feature_channels, bias=bias))
        self.conv_near = nn.Conv2d(in_channels, near_channels, 3, padding=1, groups=in_channels, bias=False)
        wide = near_channels + feature_channels
        self.depthwise_conv = nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=bias)
        self.pointwise_conv = nn.Conv2d(wide, out_channels * scale**2, 1, bias=bias)
        self.depth_to_space = nn.PixelShuffle(scale)

    def forward(self, image: Tensor) -> Tensor:
        x = self.block_1(image)
        for block in (module for module in self.children() if isinstance(module, GuidedBlock)):
            x = block(x)
        return self.depth_to_space(self.pointwise_conv(self.depthwise_conv(torch.cat([self.conv_near(image), x], 1))))


def _hyperparameters(state: Mapping[str, Tensor]) -> dict[str, Any]:
    in_channels = state["block_1.c1.conv.weight"].shape[1]
    scale, _ = scale_and_channels(state["conv_near.weight"].shape[0], in_channels)
    return {
        "in_channels": in_channels,
        "out_channels": max(1, state["pointwise_conv.weight"].shape[0] // scale**2),  # the check of the shapes finds 0
        "feature_channels": state["block_1.c1.conv.weight"].shape[0],
        "blocks": count_blocks(state, "block_{}.c1.conv.weight"),
        "scale": scale,
        "bias": "block_1.c1.conv.bias" in state,
    }


ARCHITECTURE = Architecture(
    name="SPANV2",
    module=SPANV2,
    keys=(
        "block_1.c1.conv.weight",
        "block_1.c2.conv.weight",
        "block_1.c3.conv.weight",
        "conv_near.weight",
        "depthwise_conv.weight",
        "pointwise_conv.weight",
    ),
    hyperparameters=_hyperparameters,
    normalised=False,
    has_training_form=False,
    examples=(lambda blocks: SPANV2(feature_channels=4, blocks=blocks),),
)
