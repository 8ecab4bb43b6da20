"""Everything of spandrel that is not public and is used here anyway."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from spandrel import SizeRequirements
from torch import Tensor, nn

from .build import Model


class CalledNetwork(nn.Module):
    """What calling a model computes between padding and clamping: its module, and what some models do around it.

    Args:
        model: gives the call.
        network: a copy of the model's module to use instead of it.
    """

    def __init__(self, model: Model, network: nn.Module | None = None) -> None:
        super().__init__()
        self.network = model.model if network is None else network
        # Without `_call_fn`, the few models that do more than their module would be run as the bare module, silently.
        self._call: Callable[[nn.Module, Tensor], Tensor] = model._call_fn  # pyright: ignore[reportPrivateUsage]

    def forward(self, image: Tensor) -> Tensor:
        return self._call(self.network, image)


def pad(image: Tensor, requirements: SizeRequirements) -> Tensor:
    """Pad (..., H, W) to the right and below as calling a model does.

    spandrel's own `pad_tensor` is private. Where this one differs, strips and tiles no longer equal the model's own result.
    """
    height, width = image.shape[-2:]
    right, down = requirements.get_padding(width, height)
    if not right and not down:
        return image
    across, along = min(right, width - 1), min(down, height - 1)  # a mirror image has one row less than its original
    mirrored: Tensor = F.pad(image, (0, across, 0, along), "reflect")
    replicated: Tensor = F.pad(mirrored, (0, right - across, 0, down - along), "replicate")
    return replicated
