"""A private copy of a network on a device."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ..models.build import Model
from ..models.spandrel_compat import CalledNetwork, pad
from .compiled import Compiled
from .kernels import fuse_attention
from .transfer import Transfer


class DeviceCopy:
    """Copies of a model's network on a device, in any type. The model itself is never moved or cast."""

    def __init__(self, model: Model, device: torch.device, layout: torch.memory_format, compiled: bool, transfer: Transfer) -> None:
        self._model, self._device, self._layout, self._compiled = model, device, layout, compiled
        self._networks: dict[torch.dtype, nn.Module] = {}
        self.transfer = transfer

    def __call__(self, image: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Run the network in a type on an image, (B, C, H, W), on any device.

        Return the result, (B, C', H * scale, W * scale) in 0..1, and for each image the sum of what the network gave, which is finite only
        if every value was. Both are on the device of this copy.
        """
        if dtype not in self._networks:
            self._networks[dtype] = self._copy(dtype)
        height, width = (side * self._model.scale for side in image.shape[-2:])
        sent = self.transfer.send(image, dtype, self._layout)
        output = self._networks[dtype](pad(sent, self._model.size_requirements))
        # Before the clamp, which would turn infinity into white. A sum takes one pass and makes no tensor of truth values.
        sums = output.sum((1, 2, 3), dtype=torch.float32)
        if output.untyped_storage().data_ptr() == image.untyped_storage().data_ptr():
            output = output.clone()  # a network that returns its input
        return output.clamp_(0, 1)[..., :height, :width], sums

    def _copy(self, dtype: torch.dtype) -> nn.Module:
        network = copy.deepcopy(self._model.model).eval().to(self._device, dtype)
        network.to(memory_format=self._layout)  # type: ignore[call-overload]
        if not self._compiled:
            fuse_attention(network, self._device, dtype)
        called = CalledNetwork(self._model, network)
        return Compiled(called) if self._compiled else called
