"""Moving tensors to a device and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Transfer:
    """A transfer that moves one tensor after the other and waits for each."""

    ahead = 0
    """How many results may still be on their way back while the next images are sent."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def send(self, tensor: Tensor, dtype: torch.dtype, layout: torch.memory_format) -> Tensor:
        """Return a tensor on the device, in a type and a layout."""
        return tensor.to(self._device, dtype).contiguous(memory_format=layout)

    def fetch(self, tensor: Tensor, target: torch.device) -> Callable[[], Tensor]:
        """Begin to bring a tensor nearer to a target device. Return a function that waits for it and returns it."""
        return lambda: tensor


class Overlapped(Transfer):
    """A transfer through pinned memory on streams of its own, so that the device computes meanwhile."""

    ahead = 1

    def __init__(self, device: torch.device, api: Any) -> None:
        super().__init__(device)
        self._api, self._up, self._down = api, api.Stream(device), api.Stream(device)

    def send(self, tensor: Tensor, dtype: torch.dtype, layout: torch.memory_format) -> Tensor:
        if tensor.device.type != "cpu":
            return super().send(tensor, dtype, layout)
        # Cast before the copy, which halves it in half precision.
        tensor = tensor.to(dtype).contiguous(memory_format=layout)
        pinned = _pinned_like(tensor).copy_(tensor)
        computing = self._api.current_stream(self._device)
        with self._api.stream(self._up):
            sent = pinned.to(self._device, non_blocking=True)
        computing.wait_stream(self._up)
        sent.record_stream(computing)
        return sent

    def fetch(self, tensor: Tensor, target: torch.device) -> Callable[[], Tensor]:
        if target.type != "cpu":
            return super().fetch(tensor, target)
        self._down.wait_stream(self._api.current_stream(self._device))
        with self._api.stream(self._down):
            fetched = _pinned_like(tensor).copy_(tensor, non_blocking=True)
            copied = self._api.Event()
            copied.record(self._down)
        tensor.record_stream(self._down)

        def wait() -> Tensor:
            copied.synchronize()
            return fetched

        return wait


def transfer_to(device: torch.device) -> Transfer:
    """Return the fastest transfer for a device."""
    return Overlapped(device, torch.cuda) if device.type == "cuda" else Transfer(device)


def _pinned_like(tensor: Tensor) -> Tensor:
    """Return pinned memory for a tensor, or plain memory where the system grants none (WSL limits it)."""
    try:
        return torch.empty_like(tensor, device="cpu", pin_memory=True)
    except RuntimeError:
        return torch.empty_like(tensor, device="cpu")
