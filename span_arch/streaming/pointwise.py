"""Operations of a pixel alone: how they are computed, and which calls and modules they stand for."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _relu(x: Tensor, *, out: Tensor) -> Tensor:
    return torch.clamp_min(x, 0, out=out)


def _prelu(x: Tensor, weight: Tensor, *, out: Tensor) -> Tensor:
    return out.copy_(torch.prelu(x, weight))


POINTWISE: dict[str, Callable[..., Tensor]] = {
    **{name: getattr(torch, name) for name in ("add", "sub", "mul", "div", "neg", "sigmoid", "tanh", "clamp", "maximum", "minimum")},
    **{
        name: getattr(torch.ops.aten, name).out
        for name in ("silu", "mish", "gelu", "leaky_relu", "elu", "hardtanh", "hardswish", "hardsigmoid", "softplus")
    },
    "relu": _relu,
    "prelu": _prelu,
}
"""The functions by name, in the form ``f(*arguments, **settings, out=tensor)``."""

SETTINGS = frozenset({"alpha", "approximate", "beta", "max", "max_val", "min", "min_val", "negative_slope", "threshold"})
"""The keyword arguments that `POINTWISE` takes. A call with others is not known."""

ACTIVATIONS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.ELU: ("elu", "alpha"),
    nn.GELU: ("gelu", "approximate"),
    nn.Hardsigmoid: ("hardsigmoid",),
    nn.Hardswish: ("hardswish",),
    nn.Hardtanh: ("hardtanh", "min_val", "max_val"),
    nn.LeakyReLU: ("leaky_relu", "negative_slope"),
    nn.Mish: ("mish",),
    nn.PReLU: ("prelu", "weight"),
    nn.ReLU: ("relu",),
    nn.ReLU6: ("hardtanh", "min_val", "max_val"),
    nn.SiLU: ("silu",),
    nn.Sigmoid: ("sigmoid",),
    nn.Softplus: ("softplus", "beta", "threshold"),
    nn.Tanh: ("tanh",),
}
"""The function of every activation module, and the attributes that hold its settings."""


def _calls(name: str) -> Iterator[tuple[Any, tuple[str, bool]]]:
    for owner, spelling, in_place in (
        (operator, name, False), (operator, f"i{name}", True), (torch, name, False), (torch, f"{name}_", True),
        (F, name, False), (F, f"{name}_", True),
    ):  # fmt: skip
        if hasattr(owner, spelling):
            yield getattr(owner, spelling), (name, in_place)
    yield from ((name, (name, False)), (f"{name}_", (name, True)))


CALLS: dict[Any, tuple[str, bool]] = {
    **{call: found for name in POINTWISE for call, found in _calls(name)},
    operator.truediv: ("div", False),
    operator.itruediv: ("div", True),
}
"""The functions and tensor methods that stand for a name, and whether they write into their first argument."""
