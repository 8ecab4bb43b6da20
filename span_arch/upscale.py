"""Image tensor in, larger image tensor out."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from ._util import memory
from .engine.pipeline import Upscaler
from .engine.precision import Precision
from .engine.progress import Meter, Progress
from .engine.report import Reporter
from .engine.settings import Settings
from .errors import OutOfMemoryError
from .image_ops.channels import check_image
from .image_ops.resize import Filter
from .image_ops.sizes import Size
from .image_ops.transparency import Alpha
from .image_ops.wrap import Seamless
from .models.build import Model, adopt

_log = logging.getLogger(__name__)


@torch.no_grad()
def upscale(
    model: Model,
    image: Tensor,
    *,
    size: Size | None = None,
    filter: Filter = "lanczos",
    tile: int | None = None,
    precision: Precision = "auto",
    alpha: Alpha = "resize",
    seamless: Seamless = "",
    ensemble: bool = False,
    compiled: bool = False,
    device: torch.device | str | None = None,
    allocate: Callable[[Sequence[int]], Tensor] | None = None,
    room: Callable[[int], int] | None = None,
    progress: Progress | None = None,
    report: Reporter | None = None,
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
        size: this and the next seven are explained in `Settings`.
        filter: see `Settings`.
        tile: see `Settings`.
        precision: see `Settings`.
        alpha: see `Settings`.
        seamless: see `Settings`.
        ensemble: see `Settings`.
        compiled: see `Settings`.
        device: where to compute; by default where the model is.
        allocate: makes the tensor for the result from its shape; of any floating type and on any device. By default it is
            float32, beside the image.
        room: asked for the bytes that would do, it makes room and returns the bytes that are free: once for every pass, twice with an
            ensemble, and once for what lies between passes. By default the device is asked.
        progress: called with pixels done and pixels in all, of what the network is shown: before the first strip or tile, between
            them and after the last. What it raises ends the work and passes through.
        report: told at the end what it was like.

    Returns:
        (B, H * scale, W * scale, C), or of the size that is asked for, in 0..1; C is 3 for RGBA over a colour.

    Raises:
        ImageError: the image has another shape or type, no pixels, or values that are NaN or infinite.
        OptionError: a setting is none of those that `Settings` lists, the precision is nothing for this model, or the model cannot run
            as often as the size takes.
        NotFiniteError: the network gives NaN or infinity even in float32.
        OutOfMemoryError: there is no room for the result, for the smallest strip, or for a tile of 32 pixels.
    """
    check_image(image)
    settings = Settings(size, filter, tile, precision, alpha, seamless, ensemble, compiled)
    place = torch.device(device) if device is not None else model.device
    meter = Meter(progress)
    upscaler = Upscaler(adopt(model), image.shape[1:], settings, place, meter)
    meter.total = sum(map(upscaler.pixels, image))
    out = _allocate((len(image), *upscaler.gives), allocate or partial(_beside, image))
    upscaler.prepare(room, held=out.nbytes if out.device.type == "cpu" else 0)
    for first in range(0, len(image), upscaler.group):
        upscaler.run(image[first : first + upscaler.group], out[first : first + upscaler.group])
    _end(upscaler, meter, report)
    return out


def upscale_frames(
    model: Model,
    frames: Iterable[Tensor],
    settings: Settings | None = None,
    *,
    count: int = 0,
    device: torch.device | str | None = None,
    room: Callable[[int], int] | None = None,
    progress: Progress | None = None,
    report: Reporter | None = None,
) -> Iterator[Tensor]:
    """Upscales frames as they come, in memory that does not grow with their number.

    Frames may change their size; what is held for the one before is given back then. As few frames are asked for at a time as keep the
    device busy, which is one on a CPU.

    Args:
        model: as in `upscale`.
        frames: each (H, W, C), as the images of `upscale`.
        settings: what is asked for.
        count: how many frames there will be, if that is known; only progress needs it.
        device: where to compute; by default where the model is.
        room: as in `upscale`; asked anew whenever the size changes.
        progress: called with pixels done and pixels in all as in `upscale`; the latter is what has come so far, if more than was
            foretold.
        report: told at the end what the frames of the last size were like.

    Yields:
        (H', W', C') for each frame, in float32, beside the frame.

    Raises:
        SpanArchError: as `upscale`; all frames before are there by then.
    """
    settings, place, model = settings or Settings(), torch.device(device) if device is not None else model.device, adopt(model)
    meter, shape, waiting = Meter(progress), None, list[Tensor]()
    upscaler: Upscaler | None = None
    for frame in frames:
        check_image(frame[None])
        if upscaler is None or frame.shape != shape:
            if upscaler is not None:
                yield from _upscaled(upscaler, waiting)
            upscaler = None  # its memory is given back before more is asked for
            shape, upscaler = frame.shape, Upscaler(model, frame.shape, settings, place, meter)
            upscaler.prepare(room, held=math.prod(upscaler.gives) * torch.float32.itemsize)
            meter.total = max(meter.total, count * upscaler.pixels(frame))
        waiting.append(frame)
        meter.total = max(meter.total, meter.done + sum(map(upscaler.pixels, waiting)))
        if len(waiting) >= upscaler.group:
            yield from _upscaled(upscaler, waiting)
    if upscaler is not None:
        yield from _upscaled(upscaler, waiting)
        _end(upscaler, meter, report)


def _upscaled(upscaler: Upscaler, waiting: list[Tensor]) -> Iterator[Tensor]:
    """Those that wait, which no longer do then."""
    results = [memory.empty(upscaler.gives, frame.device) for frame in waiting]
    upscaler.run(waiting, results)
    waiting.clear()
    while results:
        yield results.pop(0)  # so that nothing is held here that its user has done with


def _end(upscaler: Upscaler, meter: Meter, report: Reporter | None) -> None:
    meter.tell()
    told = upscaler.report()
    for sentence in told.redone:
        _log.warning(sentence)
    if report is not None:
        report(told)


def _beside(other: Tensor, shape: Sequence[int]) -> Tensor:
    return torch.empty(tuple(shape), dtype=torch.float32, device=other.device)


def _allocate(shape: Sequence[int], allocate: Callable[[Sequence[int]], Tensor]) -> Tensor:
    try:
        return allocate(shape)
    except (RuntimeError, MemoryError) as error:
        if not memory.is_out_of_memory(error):
            raise
        frames, height, width, _ = shape
        size = math.prod(shape) * torch.float32.itemsize / 1e9
        raise OutOfMemoryError(
            f"There is not enough memory for the result: {frames} image{'s' * (frames > 1)} of {width}x{height} pixels take {size:.1f} GB. "
            "Upscale fewer images at a time, or smaller ones, or to a smaller size, or with a model of a smaller scale."
        ) from error
