"""Upscale image tensors."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from ._util import memory
from .engine.context import Context
from .engine.pipeline import PreparedUpscale, plan_upscale, prepare
from .engine.preview import Preview
from .engine.progress import Meter
from .engine.settings import Settings
from .errors import OutOfMemoryError, SpanArchError
from .image_ops.channels import check_image
from .models.build import Model, adopt

_log = logging.getLogger(__name__)


@torch.no_grad()
def upscale(model: Model, image: Tensor, settings: Settings | None = None, context: Context | None = None) -> Tensor:
    """Upscale a batch of images.

    Nearly all networks of the SPAN family run in strips of rows. So do other networks made of convolutions, pointwise operations and pixel
    shuffles. Each strip continues the one above. Other networks, and all with a tile size, run in tiles. Both give the result of the
    whole image, up to rounding. Only tiles of networks that see further than 64 pixels differ: they are blended. Neither the model nor
    the image is ever changed.

    Args:
        model: any spandrel image model. One of the SPAN family that is not fused yet is fused first.
        image: (B, H, W, C) of a floating type, 0..1, on any device. C is 1, 3 or 4, for any model (see `channels`). The
            network receives values outside 0..1 as they are.
        settings: how to upscale.
        context: the device, progress, and other parts that the caller provides.

    Returns:
        (B, H * scale, W * scale, C), or of the size in the settings, in 0..1. C is 3 for RGBA that is composed over a colour.

    Raises:
        ImageError: the image has another shape or type, no pixels, or values that are NaN or infinite.
        OptionError: the model does not support the precision, or cannot run as often as the size needs.
        NotFiniteError: the network gives NaN or infinity, even in float32.
        OutOfMemoryError: the result, the smallest strip, or a tile of 32 pixels does not fit.
    """
    check_image(image)
    settings, context, started = settings or Settings(), context or Context(), time.perf_counter()
    plan = plan_upscale(adopt(model), settings, image.shape[1:])
    result = _allocated((len(image), *plan.result_shape), image.device, context)
    preview = Preview() if context.progress is not None else None
    if preview is not None and len(image) == 1:
        preview.show_growing(image[0], result[0])
    meter = Meter(context.progress, len(image), preview)
    prepared = prepare(plan, context, meter, held=result.nbytes if result.device.type == "cpu" else 0)
    for first in range(0, len(image), prepared.group):
        group = slice(first, first + prepared.group)
        prepared.run(list(image[group]), list(result[group]))
        if preview is not None:
            preview.show(result[min(group.stop, len(image)) - 1])
    _end(prepared, context, len(image), started)
    return result


def upscale_frames(
    model: Model, frames: Iterable[Tensor], settings: Settings | None = None, context: Context | None = None, *, count: int | None = None
) -> Iterator[Tensor]:
    """Upscale frames as they come, in memory that does not grow with their number.

    Frames may change their size; the memory for the old size is released first. Only as many frames are read ahead as keep the
    device busy: one on a CPU.

    Args:
        model: as in `upscale`.
        frames: each (H, W, C), as the images of `upscale`.
        settings: how to upscale.
        context: as in `upscale`. ``allocate`` is not used.
        count: how many frames there will be, for progress.

    Yields:
        (H', W', C') for each frame, in float32, on the device of the frame.

    Raises:
        SpanArchError: as `upscale`, after the results of all frames before.
    """
    model, settings, context = adopt(model), settings or Settings(), context or Context()
    preview = Preview() if context.progress is not None else None
    meter = Meter(context.progress, count, preview)
    prepared: PreparedUpscale | None = None
    waiting, shape, finished, started = list[Tensor](), None, 0, time.perf_counter()
    failures = list[SpanArchError]()
    for frame in _checked(frames, failures):
        if prepared is None or frame.shape != shape:
            if prepared is not None:
                yield from _upscaled(prepared, waiting, preview)
            prepared = None  # releases its memory before the next one takes its own
            shape, finished, started = frame.shape, 0, time.perf_counter()
            plan = plan_upscale(model, settings, frame.shape)
            prepared = prepare(plan, context, meter, held=math.prod(plan.result_shape) * torch.float32.itemsize)
        waiting.append(frame)
        finished += 1
        if len(waiting) >= prepared.group:
            yield from _upscaled(prepared, waiting, preview)
    if prepared is not None:
        yield from _upscaled(prepared, waiting, preview)
    if failures:
        raise failures[0]
    if prepared is not None:
        _end(prepared, context, finished, started)


def _checked(frames: Iterable[Tensor], failures: list[SpanArchError]) -> Iterator[Tensor]:
    """Yield frames up to the first error, which goes to ``failures``: the frames before it still get their results."""
    try:
        for frame in frames:
            check_image(frame[None])
            yield frame
    except SpanArchError as error:
        failures.append(error)


def _upscaled(prepared: PreparedUpscale, waiting: list[Tensor], preview: Preview | None) -> Iterator[Tensor]:
    """Upscale the waiting frames and clear the queue."""
    results = [memory.empty(prepared.plan.result_shape, frame.device) for frame in waiting]
    if waiting:
        prepared.run(waiting, results)
    waiting.clear()
    if preview is not None and results:
        preview.show(results[-1])
    while results:
        yield results.pop(0)  # so that nothing is held here that the caller has finished with


def _end(prepared: PreparedUpscale, context: Context, frames: int, started: float) -> None:
    prepared.meter.report()
    report = prepared.report(frames, time.perf_counter() - started)
    if text := str(report.recovered):
        unusual = report.recovered.out_of_memory or report.recovered.not_finite  # saturation is neither a failure nor rare
        _log.log(logging.WARNING if unusual else logging.INFO, text)
    if context.report is not None:
        context.report(report)


def _allocated(shape: Sequence[int], device: torch.device, context: Context) -> Tensor:
    try:
        return torch.empty(tuple(shape), dtype=torch.float32, device=device) if context.allocate is None else context.allocate(shape)
    except (RuntimeError, MemoryError) as error:
        if not memory.is_out_of_memory(error):
            raise
        frames, height, width, _ = shape
        size = math.prod(shape) * torch.float32.itemsize / 1e9
        raise OutOfMemoryError(
            f"There is not enough memory for the result: {frames} image{'s' * (frames > 1)} of {width}x{height} pixels take {size:.1f} GB. "
            "Choose a smaller size or a model with a smaller scale, or upscale fewer images at a time."
        ) from error
