"""Room on devices: how much there is, and how to tell that there was not enough."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..errors import OutOfMemoryError

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


def main_bytes() -> int | None:
    """Bytes of main memory that can still be had, with what the system can swap out; None where it does not tell."""
    with contextlib.suppress(OSError, ValueError):
        sizes = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return sum(int(sizes.get(name, "0 kB").split()[0]) << 10 for name in ("MemAvailable", "SwapFree"))
    with contextlib.suppress(AttributeError, ValueError, OSError):  # Windows has no such thing, and promises only what it has
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def empty(shape: Sequence[int], device: torch.device) -> Tensor:
    """A tensor of float32 with anything in it.

    Raises:
        OutOfMemoryError: there is no room for it.
    """
    try:
        return torch.empty(tuple(shape), dtype=torch.float32, device=device)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        size = math.prod(shape) * torch.float32.itemsize / 1e9
        raise OutOfMemoryError(
            f"There is not enough memory on '{device}': {size:.1f} GB are needed for an image in the making. Ask for a smaller size, or "
            "upscale a smaller image."
        ) from error


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
