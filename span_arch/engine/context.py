"""The parts that the caller provides, such as a device and callbacks, and the questions that the engine asks the machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .._util import memory
from ..models.build import Model
from ..streaming import Plan, Stream
from .device_copy import DeviceCopy
from .precision import is_fast_in_half, multiplies_bfloat16
from .prepared_plan import plan_for
from .progress import ProgressListener
from .report import Reporter
from .transfer import Transfer, transfer_to

_ROOM_ENOUGH = 2 << 30
"""Bytes beyond which larger pieces are hardly faster. A caller is not asked to free more than this."""


@dataclass(frozen=True)
class CpuCache:
    """Sizes that make strips fast on a CPU."""

    good: int = 6 << 20
    """Bytes of an intermediate value in a strip that caches hold well. Larger strips are a little slower."""
    most: int = 16 << 20
    """Bytes beyond which caches hold little of it."""
    rows: int = 32
    """Rows of a strip at which copying the rows that convolutions keep hardly counts."""


def busy_pixels(device: torch.device) -> int:
    """Return the largest number of pixels that small tiles and frames should have together to run side by side on a device."""
    return 0 if device.type == "cpu" else 1 << 20


@dataclass(frozen=True)
class Probes:
    """The questions that the engine asks the machine, and the parts that it runs networks with. Tests replace them."""

    free_bytes: Callable[[torch.device], int] = memory.free_bytes
    main_bytes: Callable[[], int | None] = memory.main_bytes
    give_back: Callable[[torch.device], None] = memory.give_back
    multiplies_bfloat16: Callable[[], bool] = multiplies_bfloat16
    is_fast_in_half: Callable[[torch.device], bool] = is_fast_in_half
    busy_pixels: Callable[[torch.device], int] = busy_pixels
    cache: CpuCache = CpuCache()
    plan_for: Callable[..., Plan | None] = plan_for
    stream: Callable[..., Stream] = Stream
    device_copy: Callable[..., DeviceCopy] = DeviceCopy
    transfer: Callable[[torch.device], Transfer] = transfer_to


@dataclass(frozen=True)
class Context:
    """The parts of an upscale that the calling program provides. `Settings` holds the choices of its user."""

    device: torch.device | str | None = None
    """Where to compute. None: where the model is."""
    room: Callable[[int], int] | None = None
    """Makes room for that many bytes on the device if it can, and returns the bytes that are free. It is called once for each pass,
    twice with an ensemble, and once for the memory between passes. None: the device itself is asked."""
    progress: ProgressListener | None = None
    """Receives progress before the first strip or tile, between them, and after the last."""
    report: Reporter | None = None
    """Receives the report at the end; with `upscale_frames`, that of the frames of the last size."""
    allocate: Callable[[Sequence[int]], Tensor] | None = None
    """Makes the tensor for the result of `upscale` from its shape, of any floating type and on any device. None: float32, on the
    device of the image."""
    probes: Probes = field(default_factory=Probes)
    """Measurements of the machine."""

    def device_for(self, model: Model) -> torch.device:
        """Return the device to run a model on."""
        return model.device if self.device is None else torch.device(self.device)

    def make_room(self, wanted: int, device: torch.device) -> int:
        """Ask for room for a number of bytes, and return the bytes that are free."""
        return self.probes.free_bytes(device) if self.room is None else self.room(min(wanted, _ROOM_ENOUGH))
