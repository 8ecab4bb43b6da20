"""A plan at work: an image goes in, strips of its output come out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .layout import lay_out
from .operations import Cast, Concatenation, Constant, Convolution, Image, Nearest, Operation, Pointwise, Ref, Shuffle, Unshuffle
from .plan import Plan, Value
from .pointwise import POINTWISE
from .weights import Weights


class Stream:
    """A network that runs images of one size strip by strip, in memory that is allocated once.

    Args:
        plan: of the network.
        weights: from `gather_weights`, on the device and in the types of the arithmetic.
        height: rows of the images, a multiple of the plan's unit.
        width: columns of the images, likewise.
        strip: rows of the image to take at a time; rounded up to a multiple of the plan's unit.
        device: where to compute.
        wide: the type of all values except narrow ones.
        narrow: the type of the plan's narrow values.
    """

    def __init__(
        self,
        plan: Plan,
        weights: Weights,
        height: int,
        width: int,
        strip: int,
        device: torch.device,
        wide: torch.dtype = torch.float32,
        narrow: torch.dtype = torch.bfloat16,
    ) -> None:
        self.strip, self.strips = even_strips(plan, height, strip)
        layout = lay_out(plan, self.strip, width, wide.itemsize, narrow.itemsize)
        places = [torch.empty(size, dtype=torch.uint8, device=device) for size in layout.places]
        self._steps: list[_Step] = []
        for value, home in zip(plan.values, layout.homes, strict=True):
            dtype, columns, count = narrow if value.narrow else wide, int(width * value.rate), value.rows(self.strip)
            shape, row = (1, -1, columns, value.channels), columns * value.channels
            area = store = None
            if home.own:
                area = torch.empty((value.kept + home.own * count) * row, dtype=dtype, device=device).view(shape).movedim(-1, 1)
            elif home.over is None and home.place is not None:
                room = (value.kept + count) * row * dtype.itemsize
                area = places[home.place][:room].view(dtype).view(shape).movedim(-1, 1)
                if value.kept and self.strips > 1:
                    store = torch.empty(value.kept * row, dtype=dtype, device=device).view(shape).movedim(-1, 1)
            step = _Step(
                value=value,
                compute=_COMPUTE[type(value.operation)],
                operands=_operands(value, self._steps, weights),
                overwritten=None if home.over is None else self._steps[home.over],
                count=count,
                rows=int(height * value.rate),
                area=area,
                store=store,
                empty=torch.empty((1, value.channels, 0, columns), dtype=dtype, device=device),
            )
            self._steps.append(step)
        bounds = [step for step in self._steps if step.bounds]
        self._last_bound = bounds[-1] if bounds else None
        if self._last_bound is not None:  # float32 is what a saturated strip would be computed in
            self._last_bound.watched = wide is not torch.float32 or any(value.narrow for value in plan.values)
        for number, value in enumerate(plan.values):
            if value.last_reader != number:
                self._steps[value.last_reader].released.append(self._steps[number])

    @property
    def saturation(self) -> float:
        """The share of values at a limit after the network's last bound, in the row of the current strip where it is largest.

        It is measured at every fifth pixel of every fourth row. It is 0 for networks without bounds, and in float32 throughout.
        """
        return 0.0 if self._last_bound is None else self._last_bound.saturation

    def __call__(self, image: Tensor) -> Iterator[Tensor]:
        """Run an image.

        Args:
            image: (1, C, H, W), of any floating type and on any device; it is only read.

        Yields:
            For every strip the rows of the output that it completes, (1, C', rows, W * scale) in the wide type: from none to all.
            They are valid until the next strip is computed.
        """
        for step in self._steps:
            step.position, step.saturation = step.kept - step.count, 0.0
            if step.store is not None:
                step.store.zero_()
        try:
            for index in range(self.strips):
                for step in self._steps:
                    step.run(index, image)
                yield self._steps[-1].output()
        finally:
            for step in self._steps:
                step.tensor = None


@dataclass(eq=False)
class _Step:
    """An operation at work: its memory, and the rows that its value has in the current strip."""

    value: Value
    compute: Callable[[_Step, Tensor, Tensor | None], Tensor]
    """Computes the rows from the rows of the image, in the target if it can."""
    operands: tuple[Any, ...]
    """The steps that it reads, and the weights and numbers that go with them."""
    overwritten: _Step | None
    """The step whose memory it takes over."""
    count: int
    """Rows in a strip."""
    rows: int
    """Rows of the whole image."""
    area: Tensor | None
    """Memory for the rows of a strip, below the kept rows."""
    store: Tensor | None
    """Memory for the rows that are kept, where the area is shared."""
    empty: Tensor
    """A strip without rows."""
    released: list[_Step] = field(default_factory=list["_Step"])
    """The steps whose values nothing reads later."""
    tensor: Tensor | None = None
    """The area in use, or the rows of the strip."""
    position: int = 0
    """The row of the area at which the strip begins."""
    origin: int = 0
    """The first row of the strip; it may lie above the image, or below."""
    start: int = 0
    """The first row of the strip within the image."""
    stop: int = 0
    """The end of the rows of the strip within the image; it equals `start` if there are none."""
    watched: bool = False
    """True to measure the saturation of a bound."""
    saturation: float = 0.0
    """The share of values at a limit, in the row where it is largest."""

    def __post_init__(self) -> None:
        self.operation: Any = self.value.operation
        self.kept, self.lag = self.value.kept, self.value.lag

    @property
    def bounds(self) -> bool:
        """True for a clamp to limits that are part of the network (see `archs.bounds`)."""
        return isinstance(self.operation, Pointwise) and self.operation.function == "clamp" and isinstance(self.operands[-1], Tensor)

    def run(self, index: int, image: Tensor) -> None:
        """Compute the rows of a strip."""
        self.origin = index * self.count - self.lag
        self.start, self.stop = min(max(self.origin, 0), self.rows), min(max(self.origin + self.count, 0), self.rows)
        target = self._target()
        if self.stop > self.start:
            result = self.compute(self, image, target)
            if target is None:
                self.tensor = result
            elif result is not target:
                target.copy_(result)
            if self.watched:
                rows, (_, low, high) = result[:, :, ::4, ::5], self.operands
                self.saturation = float(((rows == low) | (rows == high)).mean((1, 3), dtype=torch.float32).max())
        if self.store is not None:
            assert self.tensor is not None
            self.store.copy_(self.tensor[:, :, -self.kept :])
        for step in self.released:
            step.tensor = None

    def read(self, start: int, stop: int) -> Tensor:
        """Return the rows from a start to before a stop. They may lie outside the image, as far as its readers see."""
        assert self.tensor is not None
        origin = self.origin - self.position if self.kept else self.start
        return self.tensor[:, :, start - origin : stop - origin]

    def output(self) -> Tensor:
        """Return the rows of the strip."""
        return self.read(self.start, self.stop) if self.stop > self.start else self.empty

    def _target(self) -> Tensor | None:
        """Return where the rows go, and prepare the rows around them; None if torch is to allocate them."""
        area = self.area
        if self.overwritten is not None:
            self.tensor = self.overwritten.tensor
            return self.tensor
        if area is None:
            return None
        if not self.kept:
            self.tensor = area[:, :, : self.stop - self.start]
            return self.tensor
        self.tensor = area
        new = self._below_kept_rows(area)
        first, last = self.start - self.origin, self.stop - self.origin
        if last <= first:  # the image has not begun yet, or has ended
            new.zero_()
            return new[:, :, :0]
        if first > 0:
            new[:, :, :first].zero_()
        if last < self.count:
            new[:, :, last:].zero_()
        return new[:, :, first:last]

    def _below_kept_rows(self, area: Tensor) -> Tensor:
        """Put the kept rows in place, and return the part of the area below them."""
        kept, position = self.kept, self.position + self.count
        if self.store is not None:
            area[:, :, :kept].copy_(self.store)
            position = kept
        elif position == kept:
            area[:, :, :kept].zero_()
        elif position + self.count > area.shape[2]:
            area[:, :, :kept].copy_(area[:, :, position - kept : position])
            position = kept
        self.position = position
        return area[:, :, position : position + self.count]


def even_strips(plan: Plan, height: int, strip: int) -> tuple[int, int]:
    """Return the rows of nearly equal strips, at most `strip` rounded up to the plan's unit, and how many strips there are."""
    rows, unit = height + plan.lag, plan.unit
    strips = math.ceil(rows / (max(strip, unit) // unit * unit))
    strip = math.ceil(rows / strips / unit) * unit
    return strip, math.ceil(rows / strip)


def _operands(value: Value, steps: list[_Step], weights: Weights) -> tuple[Any, ...]:
    operation, sources = value.operation, [steps[read] for read in value.operation.reads]
    if isinstance(operation, Convolution):
        terms = sorted(zip(sources, operation.kernels, strict=True), key=lambda term: term[1] is None)
        return tuple((source, kernel, *(weights[kernel, value.narrow] if kernel else (None, None))) for source, kernel in terms)
    if isinstance(operation, Pointwise):
        constants = {other: weights[other, value.narrow][0] for other in operation.arguments if isinstance(other, Constant)}
        return tuple(sources[other.index] if isinstance(other, Ref) else constants.get(other, other) for other in operation.arguments)
    return tuple(sources)


def _image(step: _Step, image: Tensor, target: Tensor | None) -> Tensor:
    rows = image[:, :, step.start : step.stop]
    if target is not None:
        return target.copy_(rows)
    return rows.to(step.empty.device, step.empty.dtype).contiguous(memory_format=torch.channels_last)


def _convolution(step: _Step, image: Tensor, target: Tensor | None) -> Tensor:
    total: Tensor | None = None
    for source, kernel, weight, bias in step.operands:
        if kernel is None:
            rows = source.read(step.start, step.stop)
            total = rows.clone() if total is None else total.add_(rows)
        else:
            down, across = kernel.before
            rows = source.read(step.start - down, step.stop + down)
            result = F.conv2d(rows, weight, bias, 1, (0, across), kernel.dilation, kernel.groups)
            total = result.contiguous(memory_format=torch.channels_last) if total is None else total.add_(result)
    assert total is not None
    return total


def _pointwise(step: _Step, image: Tensor, target: Tensor | None) -> Tensor:
    arguments = [other.read(step.start, step.stop) if isinstance(other, _Step) else other for other in step.operands]
    return POINTWISE[step.operation.function](*arguments, **step.operation.settings, out=target)


def _concatenation(step: _Step, image: Tensor, target: Tensor | None) -> Tensor:
    return torch.cat([source.read(step.start, step.stop) for source in step.operands], 1, out=target)


def _nearest(step: _Step, image: Tensor, target: Tensor | None) -> Tensor:
    factor = step.operation.factor
    rows = step.operands[0].read(step.start // factor, step.stop // factor)
    _, channels, height, width = rows.shape
    assert target is not None
    target.view(1, channels, height, factor, width, factor).copy_(rows[:, :, :, None, :, None])
    return target


def _shuffle(step: _Step, image: Tensor, target: Tensor | None) -> Tensor:
    factor = step.operation.factor
    return F.pixel_shuffle(step.operands[0].read(step.start // factor, step.stop // factor), factor)


def _unshuffle(step: _Step, image: Tensor, target: Tensor | None) -> Tensor:
    factor = step.operation.factor
    return F.pixel_unshuffle(step.operands[0].read(step.start * factor, step.stop * factor), factor)


def _cast(step: _Step, image: Tensor, target: Tensor | None) -> Tensor:
    assert target is not None
    return target.copy_(step.operands[0].read(step.start, step.stop))


_COMPUTE: dict[type[Operation], Callable[[_Step, Tensor, Tensor | None], Tensor]] = {
    Cast: _cast,
    Concatenation: _concatenation,
    Convolution: _convolution,
    Image: _image,
    Nearest: _nearest,
    Pointwise: _pointwise,
    Shuffle: _shuffle,
    Unshuffle: _unshuffle,
}
