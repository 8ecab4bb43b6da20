"""Re-parameterisation: merge the branches of each Conv3XC into one convolution, and the way back.

Both ways are pure functions on state dicts. They depend on no architecture: anything with the keys of a Conv3XC is one. They never
write into the argument, and they pass on all other tensors unchanged.

A state dict holds these tensors for a Conv3XC with the prefix ``p`` (SPAN, arXiv 2311.12770, section 3.2):

====================  ========================  ==========================================
key                   shape                     meaning
====================  ========================  ==========================================
``p.sk``              (out, in, 1, 1)           the skip
``p.conv.0``          (g*in, in, 1, 1)          widens by the gain g
``p.conv.1``          (g*out, g*in, 3, 3)       without padding
``p.conv.2``          (out, g*out, 1, 1)        narrows
``p.eval_conv``       (out, in, 3, 3)           all of it as one convolution
====================  ========================  ==========================================

each with ``.weight`` and ``.bias``. Training code may leave ``eval_conv`` stale, so fusing never reads it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ..errors import DOWNLOAD_AGAIN, WeightsError

GAIN = 2
"""The gain of every published Conv3XC, which `unfuse` uses too."""

_BRANCHES = ("sk", "conv.0", "conv.1", "conv.2")
_KINDS = ("weight", "bias")
_BRANCH_KEY = re.compile(r"(?P<prefix>.+)\.(sk|conv\.[012])\.weight")


def branched_blocks(state: Iterable[str]) -> list[str]:
    """Return the prefixes of all convolutions that a state dict, or its keys, holds in training form, in the order of the file.

    A convolution that lacks a branch counts. Modules of other networks that are called ``conv.0``, ``conv.1`` and so on do not.
    """
    keys = dict.fromkeys(state)
    found = Counter(match["prefix"] for match in filter(None, map(_BRANCH_KEY.fullmatch, keys)))
    return [p for p, n in found.items() if n >= 2 and (f"{p}.sk.weight" in keys or f"{p}.eval_conv.weight" in keys)]


def fused_keys(state: Iterable[str]) -> set[str]:
    """Return the keys that `fuse` would return, from keys alone. Keys of any network are accepted."""
    blocks = branched_blocks(state)
    return (set(state) - _branch_keys(blocks)) | {f"{p}.eval_conv.{kind}" for p in blocks for kind in _KINDS}


def fuse(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace the branches of each Conv3XC by the one convolution that they add up to.

    The sums are computed in float64 on the CPU and returned in the type of the branches, but at least in float32. A state dict
    that is already fused comes back with the same tensors.

    Raises:
        WeightsError: a branch is missing, or the shapes of the branches do not match.
    """
    blocks = branched_blocks(state)
    owned = _branch_keys(blocks)
    fused = {key: tensor for key, tensor in state.items() if key not in owned}
    for prefix in blocks:
        fused[f"{prefix}.eval_conv.weight"], fused[f"{prefix}.eval_conv.bias"] = _fuse_block(state, prefix)
    return fused


def unfuse(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict with each fused 3x3 convolution as a Conv3XC that computes exactly the same.

    The skip is zero, the outer 1x1 convolutions are identities (the surplus channels of the gain are zero), and the middle one
    holds the weights. Fusing again then only multiplies by 0 or 1, which is exact. Fused convolutions of other sizes never were
    a Conv3XC and stay as they are.
    """
    branched: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if key.endswith(".eval_conv.weight") and tensor.shape[2:] == (3, 3):
            prefix = key.removesuffix(".eval_conv.weight")
            branched |= _unfuse_block(prefix, tensor, state[f"{prefix}.eval_conv.bias"])
        branched[key] = tensor
    return branched


def _branch_keys(blocks: Iterable[str]) -> set[str]:
    return {f"{p}.{part}.{kind}" for p in blocks for part in (*_BRANCHES, "eval_conv") for kind in _KINDS}


def _fuse_block(state: Mapping[str, Tensor], prefix: str) -> tuple[Tensor, Tensor]:
    keys = [f"{prefix}.{branch}.{kind}" for branch in _BRANCHES for kind in _KINDS]
    missing = [key for key in keys if key not in state]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise WeightsError(f"The convolution {prefix} is in training form, but {', '.join(missing)} {verb} missing. {DOWNLOAD_AGAIN}")
    shapes = [tuple(state[key].shape) for key in keys]
    if shapes != _expected_shapes(shapes[0], shapes[2]):  # checked before multiplying: the product could have any size
        found = ", ".join(f"{key} {shape}" for key, shape in zip(keys, shapes, strict=True))
        raise WeightsError(
            f"The branches of the convolution {prefix} do not fit each other: {found}. Expected (out, in, 1, 1), (g*in, in, 1, 1), "
            f"(g*out, g*in, 3, 3) and (out, g*out, 1, 1), each with a bias. {DOWNLOAD_AGAIN}"
        )
    dtype = torch.float64 if state[keys[0]].dtype is torch.float64 else torch.float32
    skip, b_skip, w1, b1, w2, b2, w3, b3 = (state[key].to("cpu", torch.float64) for key in keys)
    # A 1x1 convolution multiplies channels only, so it applies to each tap (y, x) of the 3x3 convolution alike.
    narrowed = torch.einsum("om,mnyx->onyx", w3[:, :, 0, 0], w2)
    weight = torch.einsum("onyx,ni->oiyx", narrowed, w1[:, :, 0, 0])
    weight[:, :, 1, 1] += skip[:, :, 0, 0]
    bias = w3[:, :, 0, 0] @ (w2.sum((2, 3)) @ b1 + b2) + b3 + b_skip
    return weight.to(dtype), bias.to(dtype)


def _expected_shapes(skip: tuple[int, ...], widening: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the shapes of weight and bias of all branches, from the weight shapes of the skip and of the widening 1x1."""
    c_out, c_in = (*skip, 0, 0)[:2]
    gain = (*widening, 0)[0] // max(c_in, 1)
    weights = [(c_out, c_in, 1, 1), (gain * c_in, c_in, 1, 1), (gain * c_out, gain * c_in, 3, 3), (c_out, gain * c_out, 1, 1)]
    return [shape for weight in weights for shape in (weight, weight[:1])]


def _unfuse_block(prefix: str, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    c_out, c_in = weight.shape[:2]
    widen = weight.new_zeros(GAIN * c_in, c_in, 1, 1)
    widen[:c_in, :, 0, 0] = torch.eye(c_in)
    middle, b_middle = weight.new_zeros(GAIN * c_out, GAIN * c_in, 3, 3), bias.new_zeros(GAIN * c_out)
    middle[:c_out, :c_in] = weight
    b_middle[:c_out] = bias
    narrow = weight.new_zeros(c_out, GAIN * c_out, 1, 1)
    narrow[:, :c_out, 0, 0] = torch.eye(c_out)
    return {
        f"{prefix}.sk.weight": weight.new_zeros(c_out, c_in, 1, 1),
        f"{prefix}.sk.bias": bias.new_zeros(c_out),
        f"{prefix}.conv.0.weight": widen,
        f"{prefix}.conv.0.bias": bias.new_zeros(GAIN * c_in),
        f"{prefix}.conv.1.weight": middle,
        f"{prefix}.conv.1.bias": b_middle,
        f"{prefix}.conv.2.weight": narrow,
        f"{prefix}.conv.2.bias": bias.new_zeros(c_out),
    }
