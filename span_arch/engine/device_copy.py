"""A network at work for one caller, in copies that nobody else uses."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ..models.build import Model
from .compiled import Compiled
from .kernels import fuse_attention
from .transfer import transfer_to


class Private:
    """Runs a model on a device, in any type. It shares nothing with the model: whatever else uses that never finds it moved or cast.

    Args:
        model: fused.
        device: where to compute.
        layout: of the tensors in memory.
        compiled: whether the network is compiled.
    """

    def __init__(self, model: Model, device: torch.device, layout: torch.memory_format, compiled: bool) -> None:
        self._model, self._device, self._layout, self._compiled = model, device, layout, compiled
        self._copies: dict[torch.dtype, Model] = {}
        self._watch = _Watch()
        self.transfer = transfer_to(device)

    def __call__(self, image: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Runs the model in a type.

        Args:
            image: (B, C, H, W), on any device.

        Returns:
            On the device of the computing, the result, (B, C', H * scale, W * scale) in 0..1; and for each image the sum of what the
            network gave, which is finite only if all of that was.
        """
        if dtype not in self._copies:
            self._copies[dtype] = self._copy(dtype)
        return self._copies[dtype](self.transfer.send(image, dtype, self._layout)), self._watch.sums

    def _copy(self, dtype: torch.dtype) -> Model:
        shell = copy.copy(self._model)
        vars(shell).pop("patcher", None)  # what a host hangs on a model is not ours to copy
        private = copy.deepcopy(shell).to(self._device, dtype)
        private.model.to(memory_format=self._layout)  # type: ignore[call-overload]
        if self._compiled:
            private._model = Compiled(private.model)  # pyright: ignore[reportPrivateUsage]
        else:
            fuse_attention(private.model, self._device, dtype)
        private.model.register_forward_hook(self._watch)
        return private


class _Watch:
    """Looks at what a network gives before spandrel clamps it to 0..1, which would make white of infinity."""

    # An object of its own: if the network knew its runner, which knows the network, both would outlive their use.

    def __init__(self) -> None:
        self.sums = torch.zeros(1)

    def __call__(self, module: nn.Module, arguments: object, result: object) -> None:
        # A sum takes one pass over memory and makes no tensor of truths, and nobody waits for it here.
        assert isinstance(result, Tensor)
        self.sums = result.sum((1, 2, 3), dtype=torch.float32)
