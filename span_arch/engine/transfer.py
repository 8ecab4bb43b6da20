"""Tensors on their way to a device and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Transfer:
    """One tensor after the other, each waited for."""

    ahead = 0
    """How many results may be under way while more is sent."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def send(self, tensor: Tensor, dtype: torch.dtype, layout: torch.memory_format) -> Tensor:
        """A tensor on the device, in a type and a layout."""
        return tensor.to(self._device, dtype).contiguous(memory_format=layout)

    def fetch(self, tensor: Tensor, target: torch.device) -> Callable[[], Tensor]:
        """Begins to bring a tensor nearer to where it is wanted; what is returned waits for it, and gives it."""
        return lambda: tensor


class Overlapped(Transfer):
    """Copies go through pinned memory on streams of their own, so that the device computes and the host works meanwhile.

    Args:
        device: an accelerator.
        api: the module of torch that has its streams and events, such as ``torch.cuda``.
    """

    ahead = 1

    def __init__(self, device: torch.device, api: Any) -> None:
        super().__init__(device)
        self._api, self._up, self._down = api, api.Stream(device), api.Stream(device)

    def send(self, tensor: Tensor, dtype: torch.dtype, layout: torch.memory_format) -> Tensor:
        if tensor.device.type != "cpu":
            return super().send(tensor, dtype, layout)
        # Cast before the copy, which is then half as long in half precision.
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
            there = self._api.Event()
            there.record(self._down)
        tensor.record_stream(self._down)

        def wait() -> Tensor:
            there.synchronize()
            return fetched

        return wait


def transfer_to(device: torch.device) -> Transfer:
    """The best way to a device and back."""
    return Overlapped(device, torch.cuda) if device.type == "cuda" else Transfer(device)


def _pinned_like(tensor: Tensor) -> Tensor:
    """Memory for a tensor that is never paged out, or plain memory where the system grants no other (WSL limits it)."""
    try:
        return torch.empty_like(tensor, device="cpu", pin_memory=True)
    except RuntimeError:
        return torch.empty_like(tensor, device="cpu")
