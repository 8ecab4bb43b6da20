"""Memory of devices: how much is free, and how errors report that there is not enough."""

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
"""Free bytes assumed for a device that does not report them."""

_MESSAGES = ("can't allocate memory", "not enough memory", "MPS backend out of memory", "out of host memory")
"""Parts of the messages of backends that have no exception for it. They do not occur in messages about anything else."""


def best_device() -> torch.device:
    """Return the accelerator that torch supports and finds, or else the CPU."""
    for name, api in (("cuda", torch.cuda), ("xpu", getattr(torch, "xpu", None)), ("mps", torch.backends.mps)):
        if api is not None and api.is_available():
            return torch.device(name)
    return torch.device("cpu")


def free_bytes(device: torch.device) -> int:
    """Return the number of free bytes on a device."""
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
    """Return the number of free bytes of main memory and swap space, or None if the system does not report it."""
    with contextlib.suppress(OSError, ValueError):
        sizes = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return sum(int(sizes.get(name, "0 kB").split()[0]) << 10 for name in ("MemAvailable", "SwapFree"))
    with contextlib.suppress(AttributeError, ValueError, OSError):  # Windows has no sysconf, and does not overcommit
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def empty(shape: Sequence[int], device: torch.device) -> Tensor:
    """Return an uninitialised float32 tensor.

    Raises:
        OutOfMemoryError: it does not fit.
    """
    try:
        return torch.empty(tuple(shape), dtype=torch.float32, device=device)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        size = math.prod(shape) * torch.float32.itemsize / 1e9
        raise OutOfMemoryError(
            f"There is not enough memory on {device}: an intermediate image needs {size:.1f} GB. Choose a smaller size, or upscale a "
            "smaller image."
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception means that a device has run out of memory."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    if type(error).__name__ == "AcceleratorError":  # torch 2.8 and later; 2 is the code of cudaErrorMemoryAllocation, in HIP too
        return getattr(error, "error_code", None) == 2
    return isinstance(error, RuntimeError) and any(message in str(error) for message in _MESSAGES)


def give_back(device: torch.device) -> None:
    """Return cached blocks to the device, so that a smaller request finds room."""
    if device.type in ("cuda", "mps", "xpu"):
        getattr(torch, device.type).empty_cache()
