"""Who runs a network: in strips or in tiles."""

from __future__ import annotations

from collections.abc import Callable

import torch

from .._util import memory
from ..image_ops.sizes import Pair
from ..models.build import Model
from . import tile_runner
from .precision import dtype_for, mixes_bfloat16
from .prepared_plan import plan_for
from .progress import Meter
from .settings import Settings
from .strip_runner import Streamed
from .tile_runner import Tiled

_ROOM_ENOUGH = 2 << 30
"""Bytes beyond which larger tiles gain nothing to speak of, so that no more than this is asked of others."""


def worker_for(
    model: Model, device: torch.device, size: Pair, settings: Settings, room: Callable[[int], int] | None, meter: Meter
) -> Streamed | Tiled:
    """Chooses: strips if the network can be run so and if it helps, else tiles.

    Args:
        model: fused.
        device: where to compute.
        size: height and width of the frames.
        settings: of these the tile, the precision, and whether the network is compiled.
        room: asked for the bytes that would do, it makes room and returns the bytes that are free. None: the device is asked.
        meter: told between strips and tiles.

    Raises:
        OptionError: the precision is nothing for this model.
    """

    def ask(wanted: int) -> int:
        return memory.free_bytes(device) if room is None else room(min(wanted, _ROOM_ENOUGH))

    dtype, mixed = dtype_for(settings.precision, model, device), mixes_bfloat16(settings.precision, model, device)
    can_stream = settings.tile is None and not settings.compiled and _bears_strips(model, size)
    if can_stream and device.type == "cpu":
        streamed = Streamed(model, device, dtype, mixed, meter)
        streamed.fit(*size, ask)
        return streamed
    need = tile_runner.need(model, dtype, *size)
    free = ask(need)
    if can_stream and need > free:
        streamed = Streamed(model, device, dtype, mixed, meter)
        streamed.fit(*size, lambda _: free)
        return streamed
    # On a GPU an image that fits goes through as a whole: nothing is gained by strips.
    worker = Tiled(model, device, dtype, meter, settings.compiled)
    worker.fit(*size, settings.tile, free)
    return worker


def _bears_strips(model: Model, size: Pair) -> bool:
    """Whether a network can be run in strips on frames of a size, once they are padded as spandrel pads them."""
    plan, (height, width) = plan_for(model), size
    across, down = model.size_requirements.get_padding(width, height)
    return plan is not None and (height + down) % plan.multiple == (width + across) % plan.multiple == 0
