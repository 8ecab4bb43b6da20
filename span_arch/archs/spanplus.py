"""SPANPlus: groups of SPAN blocks in a row, with Mish and a choice of upsamplers; by umzi2.

Written from the definitions in neosr and traiNNer-redux (github.com/neosr-project/neosr, github.com/the-database/traiNNer-redux, both
Apache-2.0) and from the DySample paper. Sizes in use: 48 feature channels with one group of 4 blocks (SPANPlus), 32 with one
group of 2 (SPANPlus-S), both with DySample or with a pixel shuffle (the variants named ST).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._util.text import join_words
from ..errors import DOWNLOAD_AGAIN, WeightsError
from .blocks import SPAB, ConvForm, FusedConv3XC
from .record import SCALES, Architecture, count_blocks, scale_and_channels

DYSAMPLE_GROUPS = 4
"""Channel groups with sampling positions of their own, the same number in every published network."""

Upsampler = Literal["ps", "conv", "dys"]
"""A pixel shuffle, a convolution that keeps the size, or `DySample`."""


class SPABS(nn.Module):
    """A group of attention blocks (a first, some in the middle, a last) with the convolutions that SPAN has around its blocks.

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
    """Bilinear upsampling with a learned offset to each sampling position (arXiv 2308.15085).

    (B, channels, H, W) -> (B, out_channels, H * scale, W * scale). ``channels`` is a multiple of `DYSAMPLE_GROUPS`.
    """

    init_pos: Tensor

    def __init__(self, channels: int, out_channels: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.offset = nn.Conv2d(channels, 2 * DYSAMPLE_GROUPS * scale**2, 1)
        self.scope = nn.Conv2d(channels, 2 * DYSAMPLE_GROUPS * scale**2, 1, bias=False)
        self.end_conv = nn.Conv2d(channels, out_channels, 1)
        # Positions of the scale**2 new pixels relative to the centre of their old pixel: x for all groups and pixels, then y.
        inside = (torch.arange(scale) + 0.5) / scale - 0.5
        y, x = torch.meshgrid(inside, inside, indexing="ij")
        self.register_buffer("init_pos", torch.stack([x, y]).repeat(1, DYSAMPLE_GROUPS, 1).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        shift = self.offset(x) * torch.sigmoid(self.scope(x)) * 0.5
        # Coordinates are always float32: float16 cannot represent half pixels beyond 1024, nor bfloat16 beyond 128.
        across, down = (shift.float() + self.init_pos.float()).chunk(2, 1)  # (B, groups * scale**2, H, W) each
        height, width = x.shape[2], x.shape[3]
        across = (across + torch.arange(width, device=x.device) + 0.5) * 2 / width - 1
        down = (down + torch.arange(height, device=x.device).view(-1, 1) + 0.5) * 2 / height - 1
        places = torch.stack([F.pixel_shuffle(across, self.scale), F.pixel_shuffle(down, self.scale)], -1)
        places = places.flatten(0, 1)  # (B * groups, H * scale, W * scale, 2), in -1..1 over the image

        # Sampling is linear, so each group's share of end_conv can come first, where there are scale**2 times fewer pixels.
        # It also leaves only out_channels to sample, instead of channels / groups. Afterwards the shares are added up.
        groups, out_channels, bias = DYSAMPLE_GROUPS, self.end_conv.out_channels, cast(Tensor, self.end_conv.bias)
        weight = torch.cat(self.end_conv.weight.chunk(groups, 1))  # (groups * out_channels, channels / groups, 1, 1)
        shares = F.conv2d(x, weight, groups=groups).float()  # (B, groups * out_channels, H, W)
        shares = shares.reshape(-1, out_channels, height, width)  # (B * groups, out_channels, H, W)
        sampled = F.grid_sample(shares, places, padding_mode="border", align_corners=False)
        sampled = sampled.view(-1, groups, out_channels, height * self.scale, width * self.scale)
        return sampled.sum(1).to(x.dtype) + bias.view(-1, 1, 1)


class SPANPlus(nn.Module):
    """(B, in_channels, H, W) in 0..1 -> (B, out_channels, H * scale, W * scale), about 0..1.

    Args (others as for `SPAN`):
        feature_channels: channels between the convolutions. A multiple of `DYSAMPLE_GROUPS` for the upsampler ``"dys"``.
        blocks: number of attention blocks between the first and the last of each group.
        scale: result pixels per image pixel, along each side. 1 for the upsampler ``"conv"``.
        upsampler: the layer that turns features into the result.
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
    in_channels = state["feats.0.eval_conv.weight"].shape[1]
    groups = count_blocks(state, "feats.{}.block_1.c1_r.eval_conv.weight")
    upsampler, scale, out_channels = _upsampler(state, in_channels)
    return {
        "in_channels": in_channels,
        "out_channels": out_channels,
        "feature_channels": state["feats.0.eval_conv.weight"].shape[0],
        "blocks": tuple(
            count_blocks(state, f"feats.{group}.block_n.{{}}.c1_r.eval_conv.weight", first=0) for group in range(1, groups + 1)
        ),
        "scale": scale,
        "upsampler": upsampler,
    }


def _upsampler(state: Mapping[str, Tensor], in_channels: int) -> tuple[Upsampler, int, int]:
    """Return (upsampler, scale, out_channels)."""
    if "upsampler.0.weight" in state:
        return "ps", *scale_and_channels(state["upsampler.0.weight"].shape[0], in_channels)
    if "upsampler.weight" in state:
        return "conv", 1, state["upsampler.weight"].shape[0]
    if "upsampler.offset.weight" in state and "upsampler.end_conv.weight" in state:
        offsets, features = state["upsampler.offset.weight"].shape[:2]
        if features % DYSAMPLE_GROUPS:
            raise WeightsError(
                f"The upsampler takes {features} channels. Expected a multiple of {DYSAMPLE_GROUPS}, its number of groups. {DOWNLOAD_AGAIN}"
            )
        for scale in SCALES:
            if offsets == 2 * DYSAMPLE_GROUPS * scale**2:
                return "dys", scale, state["upsampler.end_conv.weight"].shape[0]
        raise WeightsError(
            f"The upsampler computes {offsets} offsets. Expected x and y for {DYSAMPLE_GROUPS} groups at a scale of "
            f"{join_words(list(map(str, SCALES)))}. The file is damaged, or its network is an unknown variant of SPANPlus."
        )
    raise WeightsError(
        "The upsampler of a SPANPlus network is missing. Expected upsampler.0.weight, upsampler.weight, or upsampler.offset.weight "
        f"together with upsampler.end_conv.weight. {DOWNLOAD_AGAIN}"
    )


ARCHITECTURE = Architecture(
    name="SPANPlus",
    module=SPANPlus,
    keys=(  # the upsampler is left out, because there are three kinds
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
    others=(lambda blocks: SPANPlus(feature_channels=4, blocks=(blocks - 1,), upsampler="dys"),),
)
