"""The weights that a plan needs, in the types and on the device that it runs in."""

from __future__ import annotations

import operator
from typing import cast

import torch
from torch import Tensor, nn

from .operations import Constant, Convolution, Kernel, Pointwise
from .plan import Plan

Weights = dict[tuple[Kernel | Constant, bool], tuple[Tensor, Tensor | None]]
"""By kernel or constant, and by whether it is for a narrow value: weight and bias, or the value of the constant and None."""


def gather_weights(plan: Plan, network: nn.Module, device: torch.device, wide: torch.dtype, narrow: torch.dtype) -> Weights:
    """Gather the weights of a network, which is not changed. Weights in the right type already are shared with it."""
    found: Weights = {}
    for value in plan.values:
        operation, dtype = value.operation, narrow if value.narrow else wide
        for kernel in operation.kernels if isinstance(operation, Convolution) else ():
            if kernel is not None:
                weight, bias = _kernel(kernel, network)
                weight = weight.to(device, dtype).contiguous(memory_format=torch.channels_last)
                found[kernel, value.narrow] = weight, None if bias is None else bias.to(device, dtype)
        for argument in operation.arguments if isinstance(operation, Pointwise) else ():
            if isinstance(argument, Constant):
                tensor = cast(Tensor, operator.attrgetter(argument.path)(network))
                found[argument, value.narrow] = tensor.detach().to(device, dtype), None
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
