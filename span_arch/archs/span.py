"""SPAN: Swift Parameter-free Attention Network for Efficient Super-Resolution.

Cheng Wan, Hongyuan Yu, Zhiqi Li, Yihang Chen, Yajun Zou, Yuqing Liu, Xuanwu Yin, Kunlong Zuo: arXiv 2311.12770, CVPR 2024 workshops.
Written from the paper and the contents of published files. The authors' code and weights are under Apache-2.0.

Sizes in use: 52 feature channels (SPAN in the paper), 48 (SPAN-S), 28 (winner of the NTIRE 2024 challenge), 26 (the tiny
entry of 2024, and DSCF of 2025).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .blocks import SPAB, ConvForm, FusedConv3XC
from .normalisation import PAPER, Normalisation
from .record import Architecture, count_blocks, scale_and_channels


class SPAN(nn.Module):
    """(B, in_channels, H, W) in 0..1 -> (B, out_channels, H * scale, W * scale), about 0..1.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the result.
        feature_channels: channels between the convolutions, f in the paper.
        blocks: number of attention blocks, 6 in the paper.
        cat_channels: channels after ``conv_cat``: f in the paper, fewer in some challenge entries.
        scale: result pixels per image pixel, along each side.
        normalisation: applied to the image first, None for none.
        conv: the form of the 3x3 convolutions, `FusedConv3XC` or `Conv3XC`.
    """

    mean: Tensor

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        feature_channels: int = 48,
        blocks: int = 6,
        cat_channels: int | None = None,
        scale: int = 4,
        normalisation: Normalisation | None = PAPER,
        conv: ConvForm = FusedConv3XC,
    ) -> None:
        super().__init__()
        cat_channels = cat_channels or feature_channels
        self.normalisation = normalisation
        if normalisation is None:
            self.register_buffer("no_norm", torch.zeros(1))  # the key that neosr, traiNNer-redux and spandrel look for
        else:
            self.register_buffer("mean", torch.tensor(normalisation.mean).view(1, 3, 1, 1), persistent=False)
        self.conv_1 = conv(in_channels, feature_channels)
        for i in range(1, blocks + 1):
            self.add_module(f"block_{i}", SPAB(feature_channels, conv))
        self.conv_cat = nn.Conv2d(4 * feature_channels, cat_channels, 1)
        self.conv_2 = conv(feature_channels, feature_channels)
        self.upsampler = nn.Sequential(
            nn.Conv2d(cat_channels, out_channels * scale**2, 3, padding=1),
            nn.PixelShuffle(scale),
        )

    def forward(self, image: Tensor) -> Tensor:
        if self.normalisation is not None:
            image = (image - self.mean) * self.normalisation.range
        shallow = self.conv_1(image)
        first_block, *other_blocks = (module for module in self.children() if isinstance(module, SPAB))
        first, middle = first_block(shallow)
        last = first
        for block in other_blocks:
            last, middle = block(last)
        return self.upsampler(self.conv_cat(torch.cat([shallow, self.conv_2(last), first, middle], 1)))


def _hyperparameters(state: Mapping[str, Tensor]) -> dict[str, Any]:
    in_channels = state["conv_1.eval_conv.weight"].shape[1]
    scale, out_channels = scale_and_channels(state["upsampler.0.weight"].shape[0], in_channels)
    return {
        "in_channels": in_channels,
        "out_channels": out_channels,
        "feature_channels": state["conv_1.eval_conv.weight"].shape[0],
        "blocks": count_blocks(state, "block_{}.c1_r.eval_conv.weight"),
        "cat_channels": state["conv_cat.weight"].shape[0],
        "scale": scale,
    }


ARCHITECTURE = Architecture(
    name="SPAN",
    module=SPAN,
    keys=(
        "conv_1.eval_conv.weight",
        "block_1.c1_r.eval_conv.weight",
        "block_1.c2_r.eval_conv.weight",
        "block_1.c3_r.eval_conv.weight",
        "conv_2.eval_conv.weight",
        "conv_cat.weight",
        "upsampler.0.weight",
    ),
    hyperparameters=_hyperparameters,
    normalised=True,
    has_training_form=True,
    examples=(lambda blocks: SPAN(feature_channels=4, blocks=blocks),),
)
