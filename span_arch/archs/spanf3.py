"""SPANF3: SPAN with attention that is learned, and two convolutions after the blocks where SPAN has three; by the-database.

Written anew from the definition in traiNNer-redux (github.com/the-database/traiNNer-redux, Apache-2.0). Size in use: 48 feature
channels, 6 blocks. For scales below 3 it works by default on a coarser grid, as `SPANF3` tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import WeightsError
from .blocks import ConvForm, FusedConv3XC
from .record import Architecture, count_blocks, scale_and_channels

_UNSHUFFLED_SHUFFLE = 4
"""What the pixel shuffle at the end of an unshuffled network enlarges by."""


class SPABV2(nn.Module):
    """A swift attention block whose attention is a learned 1x1 convolution.

    (B, c, H, W) -> the block's output and what leaves its first activation, both (B, c, H, W). As in `SPAB`, that
    is the value *after* the activation, which the authors do in place.

    In its first five days (until 15 April 2026) the attention had no tanh; the keys of such a file are the same.
    """

    def __init__(self, channels: int, conv: ConvForm = FusedConv3XC) -> None:
        super().__init__()
        self.c1_r = conv(channels, channels)
        self.c2_r = conv(channels, channels)
        self.c3_r = conv(channels, channels)
        self.att_conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        middle = F.relu(self.c1_r(x), inplace=True)
        t = self.c3_r(F.relu(self.c2_r(middle), inplace=True))
        return (x + t) * torch.tanh(self.att_conv(t)), middle


class SPANF3(nn.Module):
    """(B, in_channels, H, W) in 0..1 -> (B, out_channels, H * scale, W * scale), about 0..1.

    H and W are multiples of ``unshuffle``. The authors' network pads other images itself, at the right and the bottom, with their
    mirror image; here the model that the network is part of does so, as spandrel does for every network with such a wish.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the result.
        feature_channels: channels between the convolutions.
        blocks: number of attention blocks.
        scale: how many pixels become of one, per side.
        unshuffle: how many pixels per side become channels at the beginning, ``4 // scale`` in known files; 1 is none.
        conv: the form of the 3x3 convolutions, `FusedConv3XC` or `Conv3XC`.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        feature_channels: int = 48,
        blocks: int = 6,
        scale: int = 4,
        unshuffle: int = 1,
        conv: ConvForm = FusedConv3XC,
    ) -> None:
        super().__init__()
        shuffle = scale * unshuffle
        entry = conv(in_channels * unshuffle**2, feature_channels)
        self.conv_1 = entry if unshuffle == 1 else nn.Sequential(nn.PixelUnshuffle(unshuffle), entry)
        for i in range(1, blocks + 1):
            self.add_module(f"block_{i}", SPABV2(feature_channels, conv))
        self.conv_cat = nn.Conv2d(4 * feature_channels, feature_channels, 1)
        self.to_pixel = conv(feature_channels, out_channels * shuffle**2)
        self.upsampler = nn.PixelShuffle(shuffle)

    @property
    def blocks(self) -> list[SPABV2]:
        """The attention blocks, in the order of the forward pass."""
        return [module for module in self.children() if isinstance(module, SPABV2)]

    def forward(self, image: Tensor) -> Tensor:
        shallow = self.conv_1(image)
        first_block, *other_blocks = self.blocks
        first, middle = first_block(shallow)
        last = first
        for block in other_blocks:
            last, middle = block(last)
        return self.upsampler(self.to_pixel(self.conv_cat(torch.cat([shallow, last, first, middle], 1))))


def _hyperparameters(state: Mapping[str, Tensor]) -> dict[str, Any]:
    shuffled = state["to_pixel.eval_conv.weight"].shape[0]
    if "conv_1.eval_conv.weight" in state:
        features, in_channels = state["conv_1.eval_conv.weight"].shape[:2]
        unshuffle = 1
        scale, out_channels = scale_and_channels(shuffled, in_channels)
    elif "conv_1.1.eval_conv.weight" in state:
        features, unshuffled = state["conv_1.1.eval_conv.weight"].shape[:2]
        out_channels = max(1, shuffled // _UNSHUFFLED_SHUFFLE**2)  # of too few, the shapes will tell
        unshuffle, in_channels = scale_and_channels(unshuffled, out_channels)
        scale = _UNSHUFFLED_SHUFFLE // unshuffle
        if scale * unshuffle != _UNSHUFFLED_SHUFFLE:
            raise WeightsError(
                f"The first convolution takes {unshuffled} channels, which are {in_channels} after a pixel unshuffle by {unshuffle}; "
                "expected one by 2 or 4. The file is damaged, or of a network that is not known here."
            )
    else:
        raise WeightsError(
            "The file has neither conv_1.eval_conv.weight nor, for a network that unshuffles pixels, conv_1.1.eval_conv.weight. "
            "The file is incomplete: get it again from its source."
        )
    return {
        "in_channels": in_channels,
        "out_channels": out_channels,
        "feature_channels": features,
        "blocks": count_blocks(state, "block_{}.c1_r.eval_conv.weight"),
        "scale": scale,
        "unshuffle": unshuffle,
    }


ARCHITECTURE = Architecture(
    name="SPANF3",
    module=SPANF3,
    keys=(  # without conv_1, which is stored as conv_1.1 where the network unshuffles pixels
        "block_1.c1_r.eval_conv.weight",
        "block_1.c2_r.eval_conv.weight",
        "block_1.c3_r.eval_conv.weight",
        "block_1.att_conv.weight",
        "conv_cat.weight",
        "to_pixel.eval_conv.weight",
    ),
    hyperparameters=_hyperparameters,
    normalised=False,
    has_training_form=True,
    examples=(
        lambda blocks: SPANF3(feature_channels=4, blocks=blocks),
        lambda blocks: SPANF3(feature_channels=4, blocks=blocks, unshuffle=2, scale=2),
    ),
)
