"""SPANPlus: groups of SPAN's blocks in a row, with Mish, and with a choice of upsamplers; by umzi2.

Written anew from the definitions in neosr and traiNNer-redux (github.com/neosr-project/neosr, github.com/the-database/traiNNer-redux)
and from the paper on DySample; both projects are under Apache-2.0. Sizes in use: 48 feature channels with one group of 4 blocks
(SPANPlus), 32 with one group of 2 (SPANPlus-S), either with DySample or with a pixel shuffle (the variants named ST).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import WeightsError
from .blocks import SPAB, ConvForm, FusedConv3XC
from .record import SCALES, Architecture, count_blocks, scale_and_channels

DYSAMPLE_GROUPS = 4
"""Groups of channels that are sampled at places of their own, in every published network."""

Upsampler = Literal["ps", "conv", "dys"]
"""A pixel shuffle, a convolution that does not enlarge, or `DySample`."""


class SPABS(nn.Module):
    """A group of attention blocks with what SPAN has around them: a first, some in the middle, and a last one.

    (B, c, H, W) -> (B, c, H, W).
    """

    def __init__(self, channels: int, blocks: int, conv: ConvForm = FusedConv3XC) -> None:
        super().__init__()
        self.block_1 = SPAB(channels, conv, F.mish)
        self.block_n = nn.ModuleList(SPAB(channels, conv, F.mish) for _ in range(blocks))
        self.block_end = SPAB(channels, conv, F.mish)
        self.conv_2 = conv(channels, channels)
        self.conv_cat = nn.Conv2d(4 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        first, _ = self.block_1(x)
        last = first
        for block in self.block_n:
            last, _ = block(last)
        last, middle = self.block_end(last)
        return self.conv_cat(torch.cat([x, self.conv_2(last), first, middle], 1))


class DySample(nn.Module):
    """Upsampling that looks a learned distance beside where a bilinear one would (arXiv 2308.15085).

    (B, channels, H, W) -> (B, out_channels, H * scale, W * scale). ``channels`` is a multiple of `DYSAMPLE_GROUPS`.
    """

    init_pos: Tensor

    def __init__(self, channels: int, out_channels: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.offset = nn.Conv2d(channels, 2 * DYSAMPLE_GROUPS * scale**2, 1)
        self.scope = nn.Conv2d(channels, 2 * DYSAMPLE_GROUPS * scale**2, 1, bias=False)
        self.end_conv = nn.Conv2d(channels, out_channels, 1)
        # Where the scale**2 new pixels lie within their old one, from its centre: x for all groups and pixels, then y.
        inside = (torch.arange(scale) + 0.5) / scale - 0.5
        y, x = torch.meshgrid(inside, inside, indexing="ij")
        self.register_buffer("init_pos", torch.stack([x, y]).repeat(1, DYSAMPLE_GROUPS, 1).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        shift = self.offset(x) * torch.sigmoid(self.scope(x)) * 0.5
        # All coordinates are in float32, whatever x is in: float16 knows no half pixels beyond 1024, bfloat16 beyond 128.
        across, down = (shift.float() + self.init_pos.float()).chunk(2, 1)  # (B, groups * scale**2, H, W) each
        height, width = x.shape[2], x.shape[3]
        across = (across + torch.arange(width, device=x.device) + 0.5) * 2 / width - 1
        down = (down + torch.arange(height, device=x.device).view(-1, 1) + 0.5) * 2 / height - 1
        places = torch.stack([F.pixel_shuffle(across, self.scale), F.pixel_shuffle(down, self.scale)], -1)
        places = places.flatten(0, 1)  # (B * groups, H * scale, W * scale, 2), in -1..1 over the image

        # Sampling is linear, so every group's share of end_conv can go before it, where there are scale**2 times fewer pixels.
        # Moreover the samples are then of out_channels instead of channels / groups. What is left of end_conv is to add the shares.
        groups, out_channels, bias = DYSAMPLE_GROUPS, self.end_conv.out_channels, cast(Tensor, self.end_conv.bias)
        weight = torch.cat(self.end_conv.weight.chunk(groups, 1))  # (groups * out_channels, channels / groups, 1, 1)
        shares = F.conv2d(x, weight, groups=groups).float()  # (B, groups * out_channels, H, W)
        shares = shares.reshape(-1, out_channels, height, width)  # (B * groups, out_channels, H, W)
        sampled = F.grid_sample(shares, places, padding_mode="border", align_corners=False)
        sampled = sampled.view(-1, groups, out_channels, height * self.scale, width * self.scale)
        return sampled.sum(1).to(x.dtype) + bias.view(-1, 1, 1)


class SPANPlus(nn.Module):
    """(B, in_channels, H, W) in 0..1 -> (B, out_channels, H * scale, W * scale), about 0..1.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the result.
        feature_channels: channels between the convolutions; a multiple of `DYSAMPLE_GROUPS` with the upsampler ``"dys"``.
        blocks: for every group how many attention blocks are between its first and its last.
        scale: how many pixels become of one, per side; 1 with the upsampler ``"conv"``.
        upsampler: what makes the image of the features.
        conv: the form of the 3x3 convolutions, `FusedConv3XC` or `Conv3XC`.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        feature_channels: int = 48,
        blocks: Sequence[int] = (4,),
        scale: int = 4,
        upsampler: Upsampler = "dys",
        conv: ConvForm = FusedConv3XC,
    ) -> None:
        super().__init__()
        self.feats = nn.Sequential(
            conv(in_channels, feature_channels),
            *(SPABS(feature_channels, count, conv) for count in blocks),
        )
        if upsampler == "dys":
            self.upsampler = DySample(feature_channels, out_channels, scale)
        elif upsampler == "ps":
            self.upsampler = nn.Sequential(
                nn.Conv2d(feature_channels, out_channels * scale**2, 3, padding=1),
                nn.PixelShuffle(scale),
            )
        else:
            self.upsampler = nn.Conv2d(feature_channels, out_channels, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        return self.upsampler(self.feats(image))


def _hyperparameters(state: Mapping[str, Tensor]) -> dict[str, Any]:
    features, in_channels = state["feats.0.eval_conv.weight"].shape[:2]
    groups = count_blocks(state, "feats.{}.block_1.c1_r.eval_conv.weight")
    upsampler, scale, out_channels = _upsampler(state, in_channels)
    return {
        "in_channels": in_channels,
        "out_channels": out_channels,
        "feature_channels": features,
        "blocks": tuple(
            count_blocks(state, f"feats.{group}.block_n.{{}}.c1_r.eval_conv.weight", first=0) for group in range(1, groups + 1)
        ),
        "scale": scale,
        "upsampler": upsampler,
    }


def _upsampler(state: Mapping[str, Tensor], in_channels: int) -> tuple[Upsampler, int, int]:
    """(upsampler, scale, out_channels)."""
    if "upsampler.0.weight" in state:
        return "ps", *scale_and_channels(state["upsampler.0.weight"].shape[0], in_channels)
    if "upsampler.weight" in state:
        return "conv", 1, state["upsampler.weight"].shape[0]
    if "upsampler.offset.weight" in state and "upsampler.end_conv.weight" in state:
        offsets, features = state["upsampler.offset.weight"].shape[:2]
        if features % DYSAMPLE_GROUPS:
            raise WeightsError(f"The upsampler takes {features} channels, which are no {DYSAMPLE_GROUPS} groups. The file is damaged.")
        for scale in SCALES:
            if offsets == 2 * DYSAMPLE_GROUPS * scale**2:
                return "dys", scale, state["upsampler.end_conv.weight"].shape[0]
        raise WeightsError(
            f"The upsampler computes {offsets} offsets, which are no x and y for {DYSAMPLE_GROUPS} groups at a scale of "
            f"{', '.join(map(str, SCALES[:-1]))} or {SCALES[-1]}. The file is of a network that is not known here."
        )
    raise WeightsError(
        "The file lacks its upsampler: expected upsampler.0.weight, upsampler.weight, or upsampler.offset.weight together with "
        "upsampler.end_conv.weight. The file is incomplete: get it again from its source."
    )


ARCHITECTURE = Architecture(
    name="SPANPlus",
    module=SPANPlus,
    keys=(  # without the upsampler, of which there are three
        "feats.0.eval_conv.weight",
        "feats.1.block_1.c1_r.eval_conv.weight",
        "feats.1.block_1.c2_r.eval_conv.weight",
        "feats.1.block_1.c3_r.eval_conv.weight",
        "feats.1.block_end.c1_r.eval_conv.weight",
        "feats.1.conv_2.eval_conv.weight",
        "feats.1.conv_cat.weight",
    ),
    hyperparameters=_hyperparameters,
    normalised=False,
    has_training_form=True,
    examples=(
        lambda blocks: SPANPlus(feature_channels=4, blocks=(blocks - 1,), upsampler="ps"),
        lambda blocks: SPANPlus(feature_channels=4, blocks=(blocks - 1,), upsampler="conv", scale=1),
    ),
)
