"""SPANF3: SPAN with learned attention, and with two convolutions after the blocks instead of three; by the-database.

Written from the definition in traiNNer-redux (github.com/the-database/traiNNer-redux, Apache-2.0). Size in use: 48 feature
channels, 6 blocks. For scales below 3 the authors unshuffle the pixels first (see ``unshuffle`` of `SPANF3`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import DOWNLOAD_AGAIN, WeightsError
from .blocks import ConvForm, FusedConv3XC
from .bounds import Bound
from .record import Architecture, count_blocks, scale_and_channels

_UNSHUFFLED_SHUFFLE = 4
"""The factor of the final pixel shuffle in every network that unshuffles pixels first."""


class SPABV2(nn.Module):
    """A swift attention block whose attention is a learned 1x1 convolution.

    (B, c, H, W) -> the block's output and the output of its first activation, both (B, c, H, W). As in `SPAB`, the authors
    activate in place, so the second output is the activated value.

    Until 15 April 2026, in its first five days, the attention had no tanh. Files from those days have the same keys.
    """

    def __init__(self, channels: int, conv: ConvForm = FusedConv3XC) -> None:
        super().__init__()
        self.c1_r = conv(channels, channels)
        self.c2_r = conv(channels, channels)
        self.c3_r = conv(channels, channels)
        self.att_conv = nn.Conv2d(channels, channels, 1)
        self.bound = Bound(channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        middle = F.relu(self.c1_r(x), inplace=True)
        t = self.c3_r(F.relu(self.c2_r(middle), inplace=True))
        return self.bound((x + t) * torch.tanh(self.att_conv(t))), middle


class SPANF3(nn.Module):
    """(B, in_channels, H, W) in 0..1 -> (B, out_channels, H * scale, W * scale), about 0..1.

    H and W are multiples of ``unshuffle``. The authors' network mirrors other images at the right and the bottom to fit. Here the
    model around the network does so, as it does for every spandrel network with size requirements.

    Args (others as for `SPAN`):
        unshuffle: image pixels per side that become channels at the start: ``4 // scale`` in known files, 1 for none.
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

    def forward(self, image: Tensor) -> Tensor:
        shallow = self.conv_1(image)
        first_block, *other_blocks = (module for module in self.children() if isinstance(module, SPABV2))
        first, middle = first_block(shallow)
        last = first
        for block in other_blocks:
            last, middle = block(last)
        return self.upsampler(self.to_pixel(self.conv_cat(torch.cat([shallow, last, first, middle], 1))))


def _hyperparameters(state: Mapping[str, Tensor]) -> dict[str, Any]:
    shuffled = state["to_pixel.eval_conv.weight"].shape[0]
    if "conv_1.eval_conv.weight" in state:
        unshuffle, in_channels = 1, state["conv_1.eval_conv.weight"].shape[1]
        scale, out_channels = scale_and_channels(shuffled, in_channels)
    elif "conv_1.1.eval_conv.weight" in state:
        unshuffled = state["conv_1.1.eval_conv.weight"].shape[1]
        out_channels = max(1, shuffled // _UNSHUFFLED_SHUFFLE**2)  # the check of the shapes finds 0
        unshuffle, in_channels = scale_and_channels(unshuffled, out_channels)
        scale = _UNSHUFFLED_SHUFFLE // unshuffle
        if scale * unshuffle != _UNSHUFFLED_SHUFFLE:
            raise WeightsError(
                f"The first convolution takes {unshuffled} channels, which means {in_channels} image channels unshuffled by {unshuffle}. "
                "Expected an unshuffle by 2 or 4. The file is damaged, or its network is an unknown variant of SPANF3."
            )
    else:
        raise WeightsError(
            "The first convolution of a SPANF3 network is missing. Expected conv_1.eval_conv.weight, or conv_1.1.eval_conv.weight in "
            f"networks that unshuffle pixels. {DOWNLOAD_AGAIN}"
        )
    return {
        "in_channels": in_channels,
        "out_channels": out_channels,
        "feature_channels": state["block_1.c1_r.eval_conv.weight"].shape[0],
        "blocks": count_blocks(state, "block_{}.c1_r.eval_conv.weight"),
        "scale": scale,
        "unshuffle": unshuffle,
    }


ARCHITECTURE = Architecture(
    name="SPANF3",
    module=SPANF3,
    keys=(  # conv_1 is left out, because networks that unshuffle pixels store it as conv_1.1
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
