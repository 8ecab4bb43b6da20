"""Room on devices: how much there is, and how to tell that there was not enough."""

from __future__ import annotations

import torch

_ASSUMED = 2 << 30
"""Bytes that a device is taken to have free if it cannot be asked."""

_CPU_MESSAGES = ("can't allocate memory", "not enough memory", "MPS backend out of memory", "out of host memory")
"""How backends without an exception of their own say it; none of these is a message about anything else."""


KEPT_BY_ALLOCATOR = 32 << 20
"""On a CPU, blocks larger than this go back to the system when they are freed, and the next one is mapped anew, page by page (glibc)."""


def keep_freed_blocks(device: torch.device) -> None:
    """Lets the allocator of a CPU keep what is freed, up to `KEPT_BY_ALLOCATOR`, instead of mapping it anew at every operation.

    glibc learns from the first large block that is freed which sizes come and go. So it is shown one, which nobody writes to and
    which therefore costs nothing; where another allocator is at work, nothing happens.
    """
    if device.type == "cpu":
        torch.empty(KEPT_BY_ALLOCATOR - (1 << 20), dtype=torch.uint8)


def best_device() -> torch.device:
    """The accelerator that torch was built for and finds; else the CPU."""
    for name, api in (("cuda", torch.cuda), ("xpu", getattr(torch, "xpu", None)), ("mps", torch.backends.mps)):
        if api is not None and api.is_available():
            return torch.device(name)
    return torch.device("cpu")


def free_bytes(device: torch.device) -> int:
    """Bytes that are free on a device."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    elif device.type == "mps":
        free = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    elif device.type == "xpu":
        free, _ = torch.xpu.mem_get_info(device)
    else:
        free = _ASSUMED
    return int(free)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory has run out, on whatever device."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    if type(error).__name__ == "AcceleratorError":  # newer torch; 2 is what CUDA and HIP call "memory allocation"
        return getattr(error, "error_code", None) == 2
    return isinstance(error, RuntimeError) and any(message in str(error) for message in _CPU_MESSAGES)


def give_back(device: torch.device) -> None:
    """Returns cached blocks to the device, so that a smaller request finds room."""
    if device.type in ("cuda", "mps", "xpu"):
        getattr(torch, device.type).empty_cache()
