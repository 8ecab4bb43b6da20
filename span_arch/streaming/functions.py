"""Functions of a pixel alone, in the form ``f(*arguments, out=tensor)``, by the names under which torch.fx finds them in a graph."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Function = Callable[..., Any]

_aten: Any = torch.ops.aten


def _relu(x: Tensor, *, out: Tensor) -> Tensor:
    return torch.clamp_min(x, 0, out=out)


def _prelu(x: Tensor, weight: Tensor, *, out: Tensor) -> Tensor:
    return out.copy_(torch.prelu(x, weight))


def _mish(x: Tensor, *, out: Tensor) -> Tensor:
    return _aten.mish.out(x, out=out)


def _silu(x: Tensor, *, out: Tensor) -> Tensor:
    return _aten.silu.out(x, out=out)


def _gelu(x: Tensor, *, approximate: str = "none", out: Tensor) -> Tensor:
    return _aten.gelu.out(x, approximate=approximate, out=out)


def _leaky_relu(x: Tensor, negative_slope: float = 0.01, *, out: Tensor) -> Tensor:
    return _aten.leaky_relu.out(x, negative_slope, out=out)


def _elu(x: Tensor, alpha: float = 1.0, *, out: Tensor) -> Tensor:
    return _aten.elu.out(x, alpha, out=out)


def _hardtanh(x: Tensor, min_val: float = -1.0, max_val: float = 1.0, *, out: Tensor) -> Tensor:
    return torch.clamp(x, min_val, max_val, out=out)


FUNCTIONS: dict[Any, Function] = {
    **dict.fromkeys([operator.add, operator.iadd, torch.add, "add", "add_"], torch.add),
    **dict.fromkeys([operator.sub, operator.isub, torch.sub, "sub", "sub_"], torch.sub),
    **dict.fromkeys([operator.mul, operator.imul, torch.mul, "mul", "mul_"], torch.mul),
    **dict.fromkeys([operator.truediv, operator.itruediv, torch.div, "div", "div_"], torch.div),
    **dict.fromkeys([operator.neg, torch.neg, "neg"], torch.neg),
    **dict.fromkeys([torch.sigmoid, F.sigmoid, "sigmoid", "sigmoid_"], torch.sigmoid),
    **dict.fromkeys([torch.tanh, F.tanh, "tanh", "tanh_"], torch.tanh),
    **dict.fromkeys([torch.clamp, "clamp", "clamp_"], torch.clamp),
    **dict.fromkeys([torch.relu, F.relu, "relu", "relu_"], _relu),
    F.silu: _silu,
    F.mish: _mish,
    F.gelu: _gelu,
    F.leaky_relu: _leaky_relu,
    F.elu: _elu,
    F.hardtanh: _hardtanh,
}
"""By what a graph calls. Keywords are those of torch, less ``inplace``."""

KEYWORDS = frozenset({"alpha", "approximate", "negative_slope", "min", "max", "min_val", "max_val"})
"""Those that `FUNCTIONS` are given on; a call with others is not understood."""

IN_PLACE = frozenset[Any]({operator.iadd, operator.isub, operator.imul, operator.itruediv})
"""Functions that write into their first argument without being asked to; of methods, the last letter tells."""

SAME = frozenset({"contiguous", "clone"})
"""Methods that change nothing which matters here."""


def of_module(module: nn.Module, path: str) -> tuple[Function, tuple[Any, ...], dict[str, Any]] | None:
    """The function that an activation module stands for, and what it is given beside the value; None if it is none that is known.

    A parameter is given as the path at which it is found.
    """
    simple: dict[type[nn.Module], Function] = {
        nn.ReLU: _relu, nn.SiLU: _silu, nn.Mish: _mish, nn.Sigmoid: torch.sigmoid, nn.Tanh: torch.tanh,
    }  # fmt: skip
    if type(module) in simple:
        return simple[type(module)], (), {}
    if isinstance(module, nn.LeakyReLU):
        return _leaky_relu, (module.negative_slope,), {}
    if isinstance(module, nn.PReLU):
        return _prelu, (f"{path}.weight",), {}
    if isinstance(module, nn.GELU):
        return _gelu, (), {"approximate": module.approximate}
    if isinstance(module, nn.ELU):
        return _elu, (module.alpha,), {}
    if isinstance(module, nn.Hardtanh):  # ReLU6 is one
        return _hardtanh, (module.min_val, module.max_val), {}
    return None
