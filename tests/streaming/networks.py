"""Networks that do what a test says."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from span_arch.streaming import Plan, Stream, gather_weights

from ..variants import randomise


class Custom(nn.Module):
    """A network with any forward pass, a function of the network and the image, and with the modules that it needs."""

    def __init__(self, function: Callable[..., Tensor], **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)
        randomise(self.eval())

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def conv(c_in: int = 3, c_out: int = 3, size: int | tuple[int, int] = 3, **options: object) -> nn.Conv2d:
    """Return a convolution that keeps the size of its input."""
    return nn.Conv2d(c_in, c_out, size, padding="same", **options)


def run_in_strips(plan: Plan, network: nn.Module, image: Tensor, strip: int) -> Tensor:
    """Return the result of streaming an image on the CPU."""
    device = torch.device("cpu")
    gathered = gather_weights(plan, network, device, torch.float32, torch.bfloat16)
    stream = Stream(plan, gathered, image.shape[2], image.shape[3], strip, device)
    return torch.cat([rows.clone() for rows in stream(image)], 2)
