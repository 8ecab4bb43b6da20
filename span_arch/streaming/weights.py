"""The weights that a plan needs, in the types and on the device that it runs in."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from .operations import Constant, Convolution, Kernel, Pointwise
from .plan import Plan

Weights = dict[Kernel | Constant, tuple[Tensor, Tensor | None]]
"""Of a kernel its weight and its bias; of a constant its value."""


def weights(plan: Plan, network: nn.Module, device: torch.device, wide: torch.dtype, narrow: torch.dtype) -> Weights:
    """Gathers the weights of a network, none of which is changed; those that need no change may be shared with it."""
    found: Weights = {}
    for value in plan.values:
        operation = value.operation
        if isinstance(operation, Convolution):
            for term in operation.terms:
                if term.kernel is not None:
                    weight, bias = _kernel(term.kernel, network)
                    dtype = narrow if value.narrow else wide
                    weight = weight.to(device, dtype).contiguous(memory_format=torch.channels_last)
                    found[term.kernel] = weight, None if bias is None else bias.to(device, dtype)
        elif isinstance(operation, Pointwise):
            for argument in operation.arguments:
                if isinstance(argument, Constant):
                    owner, _, name = argument.path.rpartition(".")
                    tensor = cast(Tensor, getattr(network.get_submodule(owner), name))
                    found[argument] = tensor.detach().to(device, narrow if value.narrow else wide), None
    return found


def _kernel(kernel: Kernel, network: nn.Module) -> tuple[Tensor, Tensor | None]:
    module = cast(nn.Conv2d, network.get_submodule(kernel.path))
    weight, bias = module.weight.detach(), None if module.bias is None else module.bias.detach()
    if kernel.part is not None:
        first, last = kernel.part
        weight, bias = weight[:, first:last], bias if first == 0 else None
    if kernel.then is None:
        return weight, bias
    outer, outer_bias = _kernel(kernel.then, network)
    matrix = outer[:, :, 0, 0].double()
    product = torch.einsum("om,mihw->oihw", matrix, weight.double()).to(weight.dtype)
    if bias is not None:
        carried = (matrix @ bias.double()).to(bias.dtype)
        outer_bias = carried if outer_bias is None else carried + outer_bias
    return product, outer_bias
