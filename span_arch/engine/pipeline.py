"""A model made ready for images of one size."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from .._util import memory
from ..errors import OptionError, OutOfMemoryError
from ..image_ops.channels import Channels
from ..image_ops.resize import Resize
from ..image_ops.sizes import Pair, route
from ..image_ops.transparency import is_opaque, shown
from ..models.build import Model
from .ensemble import ORIENTATIONS, Ensemble
from .progress import Meter
from .report import Report
from .runner import Frame, Worker
from .seamless import Wrapped, margins
from .select import worker_for
from .settings import Settings

_MOST_BETWEEN = 1 << 30
"""Bytes that may lie between passes and filter only to have more frames at a time."""


class Upscaler:
    """A model made ready for images of one size: through the network as often as it takes, then through a filter.

    Args:
        model: fused.
        shape: (H, W, C) of the images.
        settings: what is asked for.
        device: where to compute.
        meter: told between strips and tiles.

    Raises:
        OptionError: the network is to run more than once and cannot, or the size asked for is beyond all measure.
    """

    def __init__(self, model: Model, shape: Sequence[int], settings: Settings, device: torch.device, meter: Meter) -> None:
        height, width, image_channels = shape
        self._model, self._settings, self._device, self._meter = model, settings, device, meter
        composed = image_channels == 4 and not isinstance(settings.alpha, str)
        self._channels = Channels(3 if composed else image_channels, model.input_channels, model.output_channels)
        self._route = route(settings.size, height, width, model.scale)
        if self._route.passes > 1 and model.input_channels != model.output_channels:
            raise OptionError(
                f"The size asked for takes {self._route.passes} passes through the network, but that takes {model.input_channels} channels "
                f"and gives {model.output_channels}; ask for at most {model.scale} times the size of the image."
            )
        self._margins = margins(model, settings.seamless)
        self._workers: list[Worker] = []
        self._between: list[list[Tensor]] = []
        self._frames, self._started = 0, time.perf_counter()

    @property
    def gives(self) -> tuple[int, int, int]:
        """(H, W, C) of what comes out."""
        return (*self._route.size, self._channels.out)

    @property
    def group(self) -> int:
        """So many frames at a time are best."""
        return len(self._between)

    def pixels(self, image: Tensor) -> int:
        """How many pixels the network will be shown of an image, (H, W, C), in all passes."""
        rows, columns = self._margins
        pixels = sum((height + 2 * rows) * (width + 2 * columns) for height, width in self._route.steps[:-1])
        alpha = self._channels.alpha and self._settings.alpha == "model" and not is_opaque(image.movedim(-1, 0))
        return pixels * (len(ORIENTATIONS) if self._settings.ensemble else 1) * (2 if alpha else 1)

    def prepare(self, room: Callable[[int], int] | None, held: int) -> None:
        """Takes the memory that it needs.

        Args:
            room: asked to make room for so many bytes, and returns those that are free. None: the device is asked.
            held: bytes of main memory that the results will take.

        Raises:
            OptionError: the precision is nothing for this model.
            OutOfMemoryError: the results, and what lies between, would not fit into memory.
        """
        shapes = [(*step, self._channels.colours) for step in self._route.steps[1 : None if self._route.filtered else -1]]
        size = sum(map(math.prod, shapes)) * torch.float32.itemsize
        self._check_memory(held, size)
        if size and room is not None:
            room(size)
        self._between.append([_canvas(shape, self._device) for shape in shapes])  # before the workers ask how much is free
        self._workers = [self._worker(step, room) for step in self._route.steps[:-1]]
        for _ in range(min(self._workers[0].group, max(1, _MOST_BETWEEN // max(size, 1))) - 1):
            self._between.append([_canvas(shape, self._device) for shape in shapes])
        way, wrapped = self._route, (self._margins[0] > 0, self._margins[1] > 0)
        self._resize = Resize(self._settings.filter, way.steps[-1], way.whole, way.corner, way.size, wrapped) if way.filtered else None
        if self._channels.alpha:
            self._resize_alpha = Resize("bicubic", way.steps[0], way.whole, way.corner, way.size, wrapped)

    @torch.no_grad()
    def run(self, images: Iterable[Tensor], results: Iterable[Tensor]) -> None:
        """Upscales images, (H, W, C), into results, (H', W', C'). There are as many of them as `group` says, or fewer."""
        sources = [shown(image.movedim(-1, 0), self._settings.alpha, self._settings.seamless) for image in images]
        targets = [result.movedim(-1, 0) for result in results]  # of the same memory
        colours, channels = self._channels.colours, self._channels
        self._upscale([Frame(channels.split(s), t[:colours], channels.join) for s, t in zip(sources, targets, strict=True)])
        if channels.keeps_alpha:
            for source, target in zip(sources, targets, strict=True):
                self._upscale_alpha(source, target[-1:])
        self._frames += len(sources)

    def report(self) -> Report:
        """What it was like so far."""
        return Report(
            frames=self._frames,
            source=self._route.steps[0],
            result=self._route.size,
            passes=self._route.passes,
            method=self._workers[0].method,
            device=str(self._device),
            seconds=time.perf_counter() - self._started,
            redone=tuple(sentence for worker in self._workers for sentence in worker.redone),
        )

    def _upscale(self, frames: list[Frame]) -> None:
        again = Channels(self._channels.colours, self._channels.model_in, self._channels.model_out)
        ends = [frame.result for frame in frames]
        for step, worker in enumerate(self._workers):
            last = step + 1 == len(self._workers) and self._resize is None
            targets = ends if last else [between[step][: end.shape[0]] for between, end in zip(self._between, ends, strict=False)]
            worker.run(Frame(frame.planes, target, frame.join) for frame, target in zip(frames, targets, strict=True))
            if not last:
                frames = [Frame(again.split(target), target, again.join) for target in targets]
        if self._resize is not None:
            for frame, end in zip(frames, ends, strict=True):
                _resize(self._resize, frame.result, end)

    def _upscale_alpha(self, source: Tensor, target: Tensor) -> None:
        """Alpha of (4, H, W) to (1, H', W'), where the network has not done it already."""
        if is_opaque(source):
            target.fill_(1)
        elif self._channels.alpha and self._settings.alpha == "model":
            grey = Channels(1, self._channels.model_in, self._channels.model_out)
            self._upscale([Frame(grey.split(source[-1:]), target, lambda planes: grey.join(planes).mean(0, keepdim=True))])
        elif self._channels.alpha:
            self._resize_alpha(source[-1:].float(), target)

    def _worker(self, step: Pair, room: Callable[[int], int] | None) -> Worker:
        rows, columns = self._margins
        size = step[0] + 2 * rows, step[1] + 2 * columns

        def simple(size: Pair) -> Worker:
            return worker_for(self._model, self._device, size, self._settings, room, self._meter)

        upright = simple(size)
        if self._settings.ensemble:
            upright = Ensemble(upright, upright if size[0] == size[1] else simple((size[1], size[0])))
        return Wrapped(upright, rows, columns, self._model.scale) if rows or columns else upright

    def _check_memory(self, held: int, between: int) -> None:
        """Raises an error for what main memory cannot hold: systems promise more than they have, and end who takes them at their word."""
        needed, free = held + between * (self._device.type == "cpu"), memory.main_bytes()
        if free is None or needed <= free:
            return
        (height, width), (tall, wide) = self._route.size, self._route.steps[-1]
        through = f", by way of {wide}x{tall}" if self._route.filtered else ""
        raise OutOfMemoryError(
            f"{needed / 1e9:.1f} GB of memory are needed for results of {width}x{height} pixels{through}, and {free / 1e9:.1f} GB are "
            "free. Ask for a smaller size, or upscale fewer images at a time."
        )


def _canvas(shape: Sequence[int], device: torch.device) -> Tensor:
    """(H, W, C) -> (C, H, W), with channels last in memory."""
    try:
        canvas = memory.empty(shape, device)
    except OutOfMemoryError:
        if device.type == "cpu":
            raise
        canvas = memory.empty(shape, torch.device("cpu"))  # slower, but there is more room
    return canvas.movedim(-1, 0)


def _resize(resize: Resize, frame: Tensor, result: Tensor) -> None:
    try:
        resize(frame, result)
        return
    except (RuntimeError, MemoryError) as error:
        if not memory.is_out_of_memory(error) or frame.device.type == "cpu":
            raise
    resize(frame.cpu(), result)
