"""The blocks that the networks of the family share.

Class names follow the papers. Attribute names are the file format, so they stay as the authors chose them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .bounds import Bound
from .reparam import GAIN


class Conv3XC(nn.Module):
    """The training form of a 3x3 convolution: 1x1, 3x3 and 1x1 in a row, plus a 1x1 skip (arXiv 2311.12770, section 3.2).

    (B, c_in, H, W) -> (B, c_out, H, W). ``eval_conv`` is the fused copy that training files carry. The forward pass ignores it.
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
        # Padding comes before the first 1x1, whose bias then fills the border too. The fused form computes exactly this.
        return self.conv(F.pad(x, (1, 1, 1, 1))) + self.sk(x)


class FusedConv3XC(nn.Module):
    """A `Conv3XC` after re-parameterisation: one convolution. (B, c_in, H, W) -> (B, c_out, H, W).

    Networks that are published only in this form may use another odd kernel size.
    """

    def __init__(self, c_in: int, c_out: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.eval_conv = nn.Conv2d(c_in, c_out, kernel_size, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.eval_conv(x)


ConvForm = type[Conv3XC] | type[FusedConv3XC]
"""The form that a network's 3x3 convolutions take."""

Activation = Callable[..., Tensor]
"""A function of ``torch.nn.functional`` that takes a tensor and ``inplace``."""


def attention(t: Tensor, x: Tensor) -> Tensor:
    """Weight a block's convolved features ``t`` plus its input ``x``, all of one shape, by the sigmoid of ``t``, shifted to be odd.

    The attention has no parameters (arXiv 2311.12770, section 3.1).
    """
    return (t + x) * (torch.sigmoid(t) - 0.5)


class ParameterFreeAttention(nn.Module):
    """A block that ends in `attention`, bounded. A faster function for some device may replace ``attend``."""

    attend: Callable[[Tensor, Tensor], Tensor] = staticmethod(attention)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bound = Bound(channels)

    def attended(self, t: Tensor, x: Tensor) -> Tensor:
        """Return the output of the block, for its convolved features and its input."""
        return self.bound(self.attend(t, x))


class SPAB(ParameterFreeAttention):
    """Swift parameter-free attention block (arXiv 2311.12770, section 3.1).

    (B, c, H, W) -> the block's output and the output of its first activation, both (B, c, H, W).

    The authors return the output of ``c1_r`` but activate it in place, so their networks were trained with the activated
    value. The activation is SiLU in the paper and Mish in SPANPlus.
    """

    def __init__(self, channels: int, conv: ConvForm = FusedConv3XC, activation: Activation = F.silu) -> None:
        super().__init__(channels)
        self.activation = activation
        self.c1_r = conv(channels, channels)
        self.c2_r = conv(channels, channels)
        self.c3_r = conv(channels, channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        middle = self.activation(self.c1_r(x), inplace=True)
        t = self.c3_r(self.activation(self.c2_r(middle), inplace=True))
        return self.attended(t, x), middle
