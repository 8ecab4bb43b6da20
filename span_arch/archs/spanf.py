"""SPANF: SPAN with nearest-neighbour features, from the NTIRE challenges of 2025 and 2026 on efficient super-resolution.

Written from the contents of the published checkpoints. The challenge's code and weights are under the MIT licence. SPANF is
published only in its fused form. Size in use: 32 feature channels, 5 blocks. PKDSR and PDS, of 2026, have a narrower tail.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import DOWNLOAD_AGAIN, WeightsError
from .blocks import SPAB, FusedConv3XC
from .record import Architecture, count_blocks, scale_and_channels

Ending = Literal["", "_1"]
"""The end of the names ``conv_cat`` and ``conv_2``. PDS calls them ``conv_cat_1`` and ``conv_2_1``."""


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

    All but the first of the ``blocks`` are attention blocks.

    Args (others as for `SPAN`):
        cat_channels: channels after ``conv_cat``: ``feature_channels`` in SPANF, 24 in PKDSR, 20 in PDS.
        ending: the end of the names of the last two convolutions.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        feature_channels: int = 32,
        blocks: int = 5,
        cat_channels: int | None = None,
        scale: int = 4,
        ending: Ending = "",
    ) -> None:
        super().__init__()
        near_channels, cat_channels = in_channels * scale**2, cat_channels or feature_channels
        # Its training started from weights that repeat each pixel scale**2 times, as nearest-neighbour upscaling does.
        self.conv_near = nn.Conv2d(in_channels, near_channels, 3, padding=1, groups=in_channels, bias=False)
        self.block_1 = Entry(in_channels, feature_channels)
        for i in range(2, blocks + 1):
            self.add_module(f"block_{i}", SPAB(feature_channels))
        self.tail = f"conv_cat{ending}", f"conv_2{ending}"
        self.add_module(self.tail[0], nn.Conv2d(2 * feature_channels + near_channels, cat_channels, 1))
        self.add_module(self.tail[1], FusedConv3XC(cat_channels, out_channels * scale**2))
        self.depth_to_space = nn.PixelShuffle(scale)

    def forward(self, image: Tensor) -> Tensor:
        x = first = self.block_1(image)
        for block in (module for module in self.children() if isinstance(module, SPAB)):
            x, _ = block(x)
        conv_cat, conv_2 = map(self.get_submodule, self.tail)
        return self.depth_to_space(conv_2(conv_cat(torch.cat([self.conv_near(image), x, first], 1))))


def _hyperparameters(state: Mapping[str, Tensor]) -> dict[str, Any]:
    in_channels = state["block_1.c1_r.eval_conv.weight"].shape[1]
    scale, _ = scale_and_channels(state["conv_near.weight"].shape[0], in_channels)
    ending = _ending(state)
    return {
        "in_channels": in_channels,
        "out_channels": max(1, state[f"conv_2{ending}.eval_conv.weight"].shape[0] // scale**2),  # the check of the shapes finds 0
        "feature_channels": state["block_1.c1_r.eval_conv.weight"].shape[0],
        "blocks": count_blocks(state, "block_{}.c1_r.eval_conv.weight"),
        "cat_channels": state[f"conv_cat{ending}.weight"].shape[0],
        "scale": scale,
        "ending": ending,
    }


def _ending(state: Mapping[str, Tensor]) -> Ending:
    endings: tuple[Ending, ...] = ("", "_1")
    for ending in endings:
        if f"conv_cat{ending}.weight" in state and f"conv_2{ending}.eval_conv.weight" in state:
            return ending
    raise WeightsError(
        "The tail of a SPANF network is missing. Expected conv_cat.weight and conv_2.eval_conv.weight, or conv_cat_1.weight and "
        f"conv_2_1.eval_conv.weight. {DOWNLOAD_AGAIN}"
    )


ARCHITECTURE = Architecture(
    name="SPANF",
    module=SPANF,
    keys=(  # the tail is left out, because it has two names
        "conv_near.weight",
        "block_1.c1_r.eval_conv.weight",
        "block_1.c2_r.eval_conv.weight",
        "block_1.c3_r.eval_conv.weight",
    ),
    hyperparameters=_hyperparameters,
    normalised=False,
    has_training_form=False,
    examples=(lambda blocks: SPANF(feature_channels=4, blocks=blocks),),
    others=(lambda blocks: SPANF(feature_channels=4, blocks=blocks, ending="_1"),),
)
