"""Every private part of spandrel that this library depends on."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from spandrel import SizeRequirements
from torch import Tensor, nn

from .build import Model


class CalledNetwork(nn.Module):
    """A model's network with everything that calling the model does between padding and clamping."""

    def __init__(self, model: Model, network: nn.Module | None = None) -> None:
        super().__init__()
        self.network = model.model if network is None else network
        # A few models compute more than their network, in `_call_fn`. If spandrel renames it, every model fails here at once. If
        # spandrel adds steps elsewhere, results differ from spandrel's without an error.
        self._call: Callable[[nn.Module, Tensor], Tensor] = model._call_fn  # pyright: ignore[reportPrivateUsage]

    def forward(self, image: Tensor) -> Tensor:
        return self._call(self.network, image)


def pad(image: Tensor, requirements: SizeRequirements) -> Tensor:
    """Pad (..., H, W) at the right and bottom to meet size requirements, exactly as spandrel does when a model is called.

    This replaces spandrel's private `pad_tensor`. If spandrel changes that one, strips and tiles differ from the model's own result.
    """
    height, width = image.shape[-2:]
    right, bottom = requirements.get_padding(width, height)
    if not right and not bottom:
        return image
    columns, rows = min(right, width - 1), min(bottom, height - 1)  # a mirror image lacks the row at the mirror
    mirrored: Tensor = F.pad(image, (0, columns, 0, rows), "reflect")
    replicated: Tensor = F.pad(mirrored, (0, right - columns, 0, bottom - rows), "replicate")
    return replicated
