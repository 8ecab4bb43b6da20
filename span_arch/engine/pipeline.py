"""The upscale of images of one size from start to end, in two phases.

`plan_upscale` works out sizes, channels and passes, and touches no memory. `prepare` chooses runners and takes memory; it returns a
frozen `PreparedUpscale`, and only that can run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .._util import memory
from ..errors import OptionError, OutOfMemoryError
from ..image_ops.channels import Channels
from ..image_ops.resize import Resize
from ..image_ops.sizes import Pair, Route, route
from ..image_ops.transparency import composed_channels, is_opaque, prepare_alpha
from ..models.build import FamilyModel, Model
from .context import Context
from .ensemble import ORIENTATIONS
from .progress import Meter
from .report import Report, total
from .runner import Frame, Runner, canvas
from .seamless import margins
from .select import runner_for
from .settings import Settings

_MOST_BETWEEN = 1 << 30
"""Bytes between passes that may be taken only to run more frames at a time."""


@dataclass(frozen=True)
class UpscalePlan:
    """The steps for images of one size: the passes through the network, and the filter after them."""

    model: Model
    settings: Settings
    source: Pair
    """Height and width of the images."""
    channels: Channels
    route: Route
    margins: Pair
    """Rows and columns by which images are continued for a seamless result."""

    @property
    def result_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of a result."""
        return (*self.route.size, self.channels.out)

    @property
    def between(self) -> list[tuple[int, int, int]]:
        """(C, H, W) of the images between passes, and before the filter if there is one."""
        return [(self.channels.colours, *step) for step in self.route.steps[1 : None if self.route.filtered else -1]]

    @property
    def alpha_through_model(self) -> bool:
        """True if the network runs once more for the alpha channel."""
        return self.channels.alpha and self.settings.alpha == "model"

    def pixels(self, image: Tensor) -> int:
        """Return how many pixels the network processes for an image, (H, W, C), in all passes."""
        rows, columns = self.margins
        pixels = sum((height + 2 * rows) * (width + 2 * columns) for height, width in self.route.steps[:-1])
        alpha = self.alpha_through_model and not is_opaque(image.movedim(-1, 0))
        return pixels * (len(ORIENTATIONS) if self.settings.ensemble else 1) * (2 if alpha else 1)


def plan_upscale(model: Model, settings: Settings, shape: Sequence[int]) -> UpscalePlan:
    """Plan the upscale of images.

    Args:
        model: fused.
        settings: what the user asks for.
        shape: (H, W, C) of the images.

    Raises:
        OptionError: the network would have to run more than once and cannot, or the size asked for is far too large.
    """
    height, width, image_channels = shape
    channels = Channels(composed_channels(image_channels, settings.alpha), model.input_channels, model.output_channels)
    path = route(settings.size, height, width, model.scale)
    if path.passes > 1 and model.input_channels != model.output_channels:
        raise OptionError(
            f"The size needs {path.passes} passes through the network, but the network takes {model.input_channels} channels and gives "
            f"{model.output_channels}, so it can run only once. Choose at most {model.scale} times the size of the image."
        )
    return UpscalePlan(model, settings, (height, width), channels, path, margins(model, settings.seamless))


@dataclass(frozen=True)
class PreparedUpscale:
    """A plan with its runners and its memory, ready to run."""

    plan: UpscalePlan
    device: torch.device
    meter: Meter
    runners: tuple[Runner, ...]
    """One for each pass."""
    between: tuple[tuple[Tensor, ...], ...]
    """For each frame of a group, the images between passes."""
    resize: Resize | None
    """The filter after the last pass."""
    resize_alpha: Resize | None

    @property
    def group(self) -> int:
        """The number of frames that are best run together."""
        return len(self.between)

    @torch.no_grad()
    def run(self, images: Sequence[Tensor], results: Sequence[Tensor]) -> None:
        """Upscale images, (H, W, C), into results, (H', W', C'): as many as `group`, or fewer."""
        settings, channels = self.plan.settings, self.plan.channels
        self.meter.begin(len(images), sum(map(self.plan.pixels, images)))
        sources = [prepare_alpha(image.movedim(-1, 0), settings.alpha, settings.seamless) for image in images]
        targets = [result.movedim(-1, 0) for result in results]  # views of the same memory
        pairs = list(zip(sources, targets, strict=True))
        self._upscale([Frame(channels.split(source), target[: channels.colours], channels.join) for source, target in pairs])
        if channels.keeps_alpha:
            for source, target in pairs:
                self._upscale_alpha(source, target[-1:])

    def report(self, frames: int, seconds: float) -> Report:
        """Return the report of a run of this number of frames."""
        return Report(
            frames=frames,
            source=self.plan.source,
            result=self.plan.route.size,
            passes=self.plan.route.passes,
            method=self.runners[0].method,
            device=str(self.device),
            seconds=seconds,
            recovered=total(runner.recovered for runner in self.runners),
            warning=self.plan.model.warning if isinstance(self.plan.model, FamilyModel) else "",
        )

    def _upscale(self, frames: list[Frame]) -> None:
        channels = self.plan.channels
        ends = [frame.result for frame in frames]
        again = Channels(ends[0].shape[0], channels.model_in, channels.model_out)  # for alpha alone, that is one channel
        for step, runner in enumerate(self.runners):
            last = step + 1 == len(self.runners) and self.resize is None
            targets = ends if last else [between[step][: end.shape[0]] for between, end in zip(self.between, ends, strict=False)]
            runner.run([Frame(frame.planes, target, frame.join) for frame, target in zip(frames, targets, strict=True)])
            if not last:
                frames = [Frame(again.split(target), target, again.join) for target in targets]
        if self.resize is not None:
            for frame, end in zip(frames, ends, strict=True):
                resize_in_any_memory(self.resize, frame.result, end)

    def _upscale_alpha(self, source: Tensor, target: Tensor) -> None:
        """Upscale alpha of (4, H, W) to (1, H', W'), unless the network for RGBA has done so."""
        channels = self.plan.channels
        if is_opaque(source):
            target.fill_(1)
        elif self.plan.alpha_through_model:
            grey = Channels(1, channels.model_in, channels.model_out)
            self._upscale([Frame(grey.split(source[-1:]), target, lambda planes: grey.join(planes).mean(0, keepdim=True))])
        elif self.resize_alpha is not None:
            self.resize_alpha(source[-1:].float(), target)


def prepare(plan: UpscalePlan, context: Context, meter: Meter, held: int) -> PreparedUpscale:
    """Choose the runners of a plan, and take the memory that they need.

    Args:
        plan: of `plan_upscale`.
        context: of the caller.
        meter: counts finished pixels.
        held: bytes of main memory that the results take or will take.

    Raises:
        OptionError: the model does not support the precision.
        OutOfMemoryError: the results, and the images between passes, would not fit.
    """
    device, path, settings = context.device_for(plan.model), plan.route, plan.settings
    size = sum(map(math.prod, plan.between)) * torch.float32.itemsize
    _check_memory(plan, held + size * (device.type == "cpu"), context.probes.main_bytes())
    if size and context.room is not None:
        context.room(size)

    def images_between() -> tuple[Tensor, ...]:
        return tuple(canvas_in_any_memory(shape, device) for shape in plan.between)

    first = images_between()  # before the runners see how much memory is free
    runners = tuple(runner_for(plan.model, context, settings, step, plan.margins, meter) for step in path.steps[:-1])
    group = min(runners[0].group, max(1, _MOST_BETWEEN // max(size, 1)))
    between = (first, *(images_between() for _ in range(group - 1)))
    wrapped = plan.margins[0] > 0, plan.margins[1] > 0
    end = path.whole, path.size, wrapped
    resize = Resize(settings.filter, path.steps[-1], *end) if path.filtered else None
    resize_alpha = Resize("bicubic", path.steps[0], *end) if plan.channels.alpha else None
    return PreparedUpscale(plan, device, meter, runners, between, resize, resize_alpha)


def _check_memory(plan: UpscalePlan, needed: int, free: int | None) -> None:
    """Raise OutOfMemoryError if the results cannot fit. The OS overcommits memory and kills processes that use it."""
    if free is None or needed <= free:
        return
    (height, width), (tall, wide) = plan.route.size, plan.route.steps[-1]
    through = f", by way of {wide}x{tall}" if plan.route.filtered else ""
    raise OutOfMemoryError(
        f"Results of {width}x{height} pixels{through} need {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free. Choose a "
        "smaller size, or upscale fewer images at a time."
    )


def canvas_in_any_memory(shape: tuple[int, int, int], device: torch.device) -> Tensor:
    """Return a tensor of a shape, (C, H, W), on the device, or in main memory if the device has no room for it."""
    try:
        return canvas(shape, device)
    except OutOfMemoryError:
        if device.type == "cpu":
            raise
    return canvas(shape, torch.device("cpu"))


def resize_in_any_memory(resize: Resize, frame: Tensor, result: Tensor) -> None:
    """Resize a frame into a result on the frame's device, or on the CPU if the device has no room for it."""
    try:
        resize(frame, result)
        return
    except (RuntimeError, MemoryError) as error:
        if not memory.is_out_of_memory(error) or frame.device.type == "cpu":
            raise
    resize(frame.cpu(), result)
