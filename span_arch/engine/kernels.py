"""The attention of SPAN as one kernel, where torch can make one: CUDA and ROCm, whose runtime compilers torch brings along."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from ..archs.blocks import attention

_ATTENTION = "template <typename T> T attention(T t, T x) { return (t + x) * (T(1) / (T(1) + exp(-t)) - T(0.5)); }"

_log = logging.getLogger(__name__)


def fuse_attention(network: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Gives the attention blocks of a network the fused kernel, if there is one for a device and a type."""
    blocks: list[Any] = [module for module in network.modules() if hasattr(module, "attend")]
    if blocks and device.type == "cuda":
        attend = fused_attention(device, dtype)
        for block in blocks:
            block.attend = attend


@cache
def fused_attention(device: torch.device, dtype: torch.dtype) -> Callable[[Tensor, Tensor], Tensor]:
    """`attention` as one pass over memory instead of four; the plain one if no kernel is made, or it gives something else.

    ``torch.cuda.jiterator`` is not a settled interface of torch, hence the trial: the first call compares it on a few numbers.
    """
    try:
        jiterator: Any = torch.cuda.jiterator
        kernel: Callable[[Tensor, Tensor], Tensor] = jiterator._create_jit_fn(_ATTENTION)
        t = torch.linspace(-8, 8, 64, device=device, dtype=dtype).view(1, 4, 4, 4).contiguous(memory_format=torch.channels_last)
        x = t.flip(1)
        found = kernel(t, x)
        torch.testing.assert_close(found, attention(t, x), atol=0.1 if dtype.itemsize == 2 else 1e-5, rtol=0)
    except Exception as error:  # whatever a compiler that is not settled may raise
        _log.debug("No fused attention on %s in %s: %s", device, dtype, error)
        return attention
    return kernel
