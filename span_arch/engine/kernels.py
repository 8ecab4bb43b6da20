"""SPAN's attention as one kernel, where torch can compile one: with CUDA and ROCm, whose compilers come with torch."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from ..archs.blocks import ParameterFreeAttention, attention

KERNEL = "template <typename T> T attention(T t, T x) { return (t + x) * (T(1) / (T(1) + exp(-t)) - T(0.5)); }"
"""`attention` in the language of the compiler."""

Attention = Callable[[Tensor, Tensor], Tensor]

_log = logging.getLogger(__name__)


def fuse_attention(
    network: nn.Module, device: torch.device, dtype: torch.dtype, kernel_for: Callable[[torch.device, torch.dtype], Attention] | None = None
) -> None:
    """Give the family's attention blocks in a network the fused kernel, in place, if the device has one. Other networks are unchanged."""
    # By type: networks of others have parts called "attend" too, which are modules of their own.
    blocks = [module for module in network.modules() if isinstance(module, ParameterFreeAttention)]
    if blocks and device.type == "cuda":
        attend = (kernel_for or fused_attention)(device, dtype)
        for block in blocks:
            block.attend = attend


@cache
def fused_attention(device: torch.device, dtype: torch.dtype) -> Callable[[Tensor, Tensor], Tensor]:
    """Return `attention` as one pass over memory instead of four; the plain function if no kernel can be made.

    ``torch.cuda.jiterator`` is not a stable interface of torch, so the kernel is compared with the plain function first.
    """
    try:
        jiterator: Any = torch.cuda.jiterator
        kernel: Callable[[Tensor, Tensor], Tensor] = jiterator._create_jit_fn(KERNEL)
        t = torch.linspace(-8, 8, 64, device=device, dtype=dtype).view(1, 4, 4, 4).contiguous(memory_format=torch.channels_last)
        x = t.flip(1)
        found = kernel(t, x)
        torch.testing.assert_close(found, attention(t, x), atol=0.1 if dtype.itemsize == 2 else 1e-5, rtol=0)
    except Exception as error:  # an unstable interface may raise anything
        _log.debug("No fused attention on %s in %s: %s", device, dtype, error)
        return attention
    return kernel
