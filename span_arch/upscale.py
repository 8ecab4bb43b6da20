"""Image tensor in, larger image tensor out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from spandrel import ImageModelDescriptor
from torch import Tensor, nn

from . import memory, tiled
from .arithmetic import plan_for
from .channels import Channels, check_image, resize_alpha
from .errors import OptionError, OutOfMemoryError
from .meter import Meter, Progress
from .model import adopt
from .precision import Precision, dtype_for, mixes_bfloat16
from .streamed import Streamed
from .tiled import Tiled

Model = ImageModelDescriptor[nn.Module]

_ROOM_ENOUGH = 2 << 30
"""Bytes beyond which larger tiles gain nothing to speak of, so that no more than this is asked of others."""


@torch.no_grad()
def upscale(
    model: Model,
    image: Tensor,
    *,
    tile: int | None = None,
    precision: Precision = "auto",
    device: torch.device | str | None = None,
    compiled: bool = False,
    allocate: Callable[[Sequence[int]], Tensor] | None = None,
    room: Callable[[int], int] | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Upscales a batch of images.

    Networks of convolutions, functions of a pixel and changes of grid, as nearly all of the SPAN family are, take their image in
    strips of rows, each of which goes on where the last one ended. The image is cut into tiles for other networks, or where a tile
    is asked for. Both give what the whole image would (to rounding), but for tiles of networks that see further than 64 pixels or
    without end, which are blended. Neither the model nor the image is changed, whatever happens.

    Args:
        model: any spandrel image model. One of the SPAN family that is not fused yet is fused first.
        image: (B, H, W, C) of a floating type, 0..1, on any device. C is 1, 3 or 4 whatever the model takes (see `channels`).
            Values outside 0..1 are shown to the network as they are.
        tile: the side of a tile's core in pixels of the image. None: strips or tiles as large as memory allows, and on a CPU as is
            fastest.
        precision: the type of the arithmetic (see `precision`).
        device: where to compute; by default where the model is.
        compiled: whether to compile the network with ``torch.compile`` for tiles of one size. That takes its time once; where there is
            no compiler, it makes no difference.
        allocate: makes the tensor for the result from its shape; of any floating type and on any device. By default it is
            float32, beside the image.
        room: asked once for the bytes that would do, it makes room and returns the bytes that are free. By default the device is
            asked.
        progress: called with pixels done and pixels in all: before the first strip or tile, between them and after the last.
            What it raises ends the work and passes through.

    Returns:
        (B, H * scale, W * scale, C), in 0..1.

    Raises:
        ImageError: the image has another shape or type, no pixels, or values that are NaN or infinite.
        OptionError: ``tile`` is below 1, or the precision is unknown or nothing for this model.
        NotFiniteError: the network gives NaN or infinity even in float32.
        OutOfMemoryError: there is no room for the smallest strip, or for a tile of 32 pixels.
    """
    check_image(image)
    if tile is not None and tile < 1:
        raise OptionError(f"A tile of {tile} pixels was asked for; expected at least 1, or none for the best size.")
    place = torch.device(device) if device is not None else model.device
    model = adopt(model)
    frames, height, width, image_channels = image.shape
    channels = Channels(image_channels, model.input_channels, model.output_channels)
    shape = (frames, height * model.scale, width * model.scale, channels.out)
    meter = Meter(frames * height * width, progress)
    worker = _worker(model, place, precision, tile, compiled, (height, width), room, meter)
    out = _allocate(shape, allocate or (lambda shape: torch.empty(tuple(shape), dtype=torch.float32, device=image.device)))
    worker.run(channels.frame(frame, target) for frame, target in zip(image, out, strict=True))
    if channels.alpha:
        for frame, target in zip(image, out, strict=True):
            resize_alpha(frame[..., -1], target[..., -1])
    meter.tell()
    worker.report()
    return out


def _worker(
    model: Model,
    device: torch.device,
    precision: Precision,
    tile: int | None,
    compiled: bool,
    size: tuple[int, int],
    room: Callable[[int], int] | None,
    meter: Meter,
) -> Streamed | Tiled:
    """What runs the model: in strips if it can be and if it helps, else in tiles."""

    def ask(wanted: int) -> int:
        return memory.free_bytes(device) if room is None else room(min(wanted, _ROOM_ENOUGH))

    dtype, mixed = dtype_for(precision, model, device), mixes_bfloat16(precision, model, device)
    can_stream = tile is None and not compiled and plan_for(model) is not None
    if can_stream and device.type == "cpu":
        streamed = Streamed(model, device, dtype, mixed, meter)
        streamed.fit(*size, ask)
        return streamed
    need = tiled.need(model, dtype, *size)
    free = ask(need)
    if can_stream and need > free:
        streamed = Streamed(model, device, dtype, mixed, meter)
        streamed.fit(*size, lambda _: free)
        return streamed
    # On a GPU an image that fits goes through as a whole: nothing is gained by strips.
    worker = Tiled(model, device, dtype, meter, compiled)
    worker.fit(*size, tile, free)
    return worker


def _allocate(shape: tuple[int, int, int, int], allocate: Callable[[Sequence[int]], Tensor]) -> Tensor:
    try:
        return allocate(shape)
    except (RuntimeError, MemoryError) as error:
        if not memory.is_out_of_memory(error):
            raise
        frames, height, width, _ = shape
        size = math.prod(shape) * torch.float32.itemsize / 1e9
        raise OutOfMemoryError(
            f"There is not enough memory for the result: {frames} image{'s' * (frames > 1)} of {width}x{height} pixels take {size:.1f} GB. "
            "Upscale fewer images at a time, or smaller ones, or with a model of a smaller scale."
        ) from error
