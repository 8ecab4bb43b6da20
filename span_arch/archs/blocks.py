"""The blocks that the networks of the family share.

Names follow the papers; the names of attributes are the file format, so they stay as their authors chose them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .reparam import GAIN


class Conv3XC(nn.Module):
    """The training form of a 3x3 convolution: 1x1, 3x3 and 1x1 in a row, beside a 1x1 skip (arXiv 2311.12770, section 3.2).

    (B, c_in, H, W) -> (B, c_out, H, W). ``eval_conv`` is the fused copy that files of this form carry along; the forward
    pass does not use it.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.sk = nn.Conv2d(c_in, c_out, 1)
        self.conv = nn.Sequential(
            nn.Conv2d(c_in, GAIN * c_in, 1),
            nn.Conv2d(GAIN * c_in, GAIN * c_out, 3),
            nn.Conv2d(GAIN * c_out, c_out, 1),
        )
        self.eval_conv = nn.Conv2d(c_in, c_out, 3, padding=1).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        # Padded before the first 1x1, whose bias thereby fills the border too: this is what the fused form computes.
        return self.conv(F.pad(x, (1, 1, 1, 1))) + self.sk(x)


class FusedConv3XC(nn.Module):
    """What a `Conv3XC` is after re-parameterisation: one convolution. (B, c_in, H, W) -> (B, c_out, H, W).

    Networks that are published in this form alone may have a larger kernel, of an odd size.
    """

    def __init__(self, c_in: int, c_out: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.eval_conv = nn.Conv2d(c_in, c_out, kernel_size, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.eval_conv(x)


ConvForm = type[Conv3XC] | type[FusedConv3XC]
"""Which of the two forms a network is built of."""

Activation = Callable[..., Tensor]
"""A function of ``torch.nn.functional`` that takes a tensor and ``inplace``."""


def attention(t: Tensor, x: Tensor) -> Tensor:
    """What a block's convolutions give, ``t``, and its input ``x``, weighted without a parameter: two tensors of one shape, to a third.

    The weight is the sigmoid, moved to be odd (arXiv 2311.12770, section 3.1).
    """
    return (t + x) * (torch.sigmoid(t) - 0.5)


class ParameterFreeAttention(nn.Module):
    """A block that ends in `attention`. A device may have a faster function for it, which takes the place of ``attend``."""

    attend: Callable[[Tensor, Tensor], Tensor] = staticmethod(attention)


class SPAB(ParameterFreeAttention):
    """Swift parameter-free attention block (arXiv 2311.12770, section 3.1).

    (B, c, H, W) -> the block's output and what leaves its first activation, both (B, c, H, W).

    The authors return the output of ``c1_r`` itself, but activate it in place, so that what their networks were trained
    with is the value *after* the activation. That is SiLU in the paper; SPANPlus has another.
    """

    def __init__(self, channels: int, conv: ConvForm = FusedConv3XC, activation: Activation = F.silu) -> None:
        super().__init__()
        self.activation = activation
        self.c1_r = conv(channels, channels)
        self.c2_r = conv(channels, channels)
        self.c3_r = conv(channels, channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        middle = self.activation(self.c1_r(x), inplace=True)
        t = self.c3_r(self.activation(self.c2_r(middle), inplace=True))
        return self.attend(t, x), middle
