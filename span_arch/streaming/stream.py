"""A plan at work: an image goes in, strips of its output come out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .layout import Layout, lay_out, overwritten
from .operations import Concatenation, Constant, Convolution, Image, Nearest, Pointwise, Ref, Resampling, Shuffle, Unshuffle
from .plan import Plan
from .weights import Weights


class Stream:
    """Runs images of one size through a network, strip by strip, in memory that is allocated once.

    Args:
        plan: of the network.
        weights: as `weights` gathers them, on the device and in the types of the arithmetic.
        height: rows of the images, a multiple of the plan's unit.
        width: columns of the images, likewise.
        strip: rows of the image to take at a time; rounded up to a multiple of the plan's unit.
        device: where to compute.
        wide: the type of all values, but for those that the plan calls narrow.
        narrow: the type of these.
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
        self._values, self._weights, self._device = plan.values, weights, device
        self._types = [narrow if value.narrow else wide for value in plan.values]
        self.strip, self.strips = even_strips(plan, height, strip)
        self._columns = [int(width * value.rate) for value in plan.values]
        self._rows = [int(height * value.rate) for value in plan.values]
        self._over = [overwritten(plan, number) for number in range(len(plan.values))]
        self._areas: list[Tensor | None] = []
        self._stores: list[Tensor | None] = []
        self._allocate(lay_out(plan, self.strip, width, wide.itemsize, narrow.itemsize))
        self._spans: list[_Span] = []
        self._positions: list[int] = []  # in its area, of the first row that a value has in the strip at hand
        self._tensors: list[Tensor | None] = [None] * len(plan.values)

    def __call__(self, image: Tensor) -> Iterator[Tensor]:
        """Runs an image.

        Args:
            image: (1, C, H, W), of any floating type and on any device; it is only read.

        Yields:
            For every strip the rows of the output that it completes, (1, C', rows, W * scale) in the wide type: from none to all.
            They are good until the next strip is asked for.
        """
        for store in self._stores:
            if store is not None:
                store.zero_()
        self._positions = [value.kept - count for value, count in zip(self._values, self._counts, strict=True)]
        try:
            for index in range(self.strips):
                self._spans = [
                    _Span.of(index * count - value.lag, count, rows)
                    for value, count, rows in zip(self._values, self._counts, self._rows, strict=True)
                ]
                for number in range(len(self._values)):
                    self._run(number, image)
                yield self._output()
        finally:
            self._tensors = [None] * len(self._tensors)

    def _allocate(self, layout: Layout) -> None:
        self._counts = [value.rows(self.strip) for value in self._values]
        places = [torch.empty(size, dtype=torch.uint8, device=self._device) for size in layout.places]
        for number, (value, home, dtype) in enumerate(zip(self._values, layout.homes, self._types, strict=True)):
            area = store = None
            row = self._columns[number] * value.channels
            if home == "own":
                rows = value.kept + layout.own[number] * self._counts[number]
                area = torch.empty(rows * row, dtype=dtype, device=self._device)
            elif home != "torch":
                rows = value.kept + self._counts[number]
                area = places[home][: rows * row * dtype.itemsize].view(dtype)
                if value.kept and self.strips > 1:
                    store = torch.empty(value.kept * row, dtype=dtype, device=self._device)
            for memory, tensors in ((area, self._areas), (store, self._stores)):
                tensors.append(None if memory is None else memory.view(1, -1, self._columns[number], value.channels).movedim(-1, 1))

    def _run(self, number: int, image: Tensor) -> None:
        """Gives an operation its turn."""
        value, span, store = self._values[number], self._spans[number], self._stores[number]
        target = self._target(number)
        if span.stop > span.start:
            result = self._compute(number, image, target)
            if target is None:
                self._tensors[number] = result
            elif result is not target:
                target.copy_(result)
        if store is not None:
            store.copy_(_some(self._tensors[number])[:, :, -value.kept :])
        for read in value.operation.reads:
            if self._values[read].last_reader == number:
                self._tensors[read] = None

    def _target(self, number: int) -> Tensor | None:
        """Where the rows of a value go, with all around them in order; None if torch is to make a tensor of them."""
        value, span, area, over = self._values[number], self._spans[number], self._areas[number], self._over[number]
        if over is not None:
            self._tensors[number] = self._tensors[over]
            return self._tensors[number]
        if area is None:
            return None
        if not value.kept:
            self._tensors[number] = area[:, :, : span.stop - span.start]
            return self._tensors[number]
        self._tensors[number] = area
        new = self._below_what_is_kept(number, area)
        first, last = span.start - span.origin, span.stop - span.origin
        if last <= first:  # it has not begun yet, or has come to its end
            new.zero_()
            return new[:, :, :0]
        if first > 0:
            new[:, :, :first].zero_()
        if last < new.shape[2]:
            new[:, :, last:].zero_()
        return new[:, :, first:last]

    def _below_what_is_kept(self, number: int, area: Tensor) -> Tensor:
        """The part of an area for the rows of the strip at hand, once those that are kept lie above it."""
        kept, count, store = self._values[number].kept, self._counts[number], self._stores[number]
        position = self._positions[number] + count
        if store is not None:
            area[:, :, :kept].copy_(store)
            position = kept
        elif position == kept:
            area[:, :, :kept].zero_()
        elif position + count > area.shape[2]:
            area[:, :, :kept].copy_(area[:, :, position - kept : position])
            position = kept
        self._positions[number] = position
        return area[:, :, position : position + count]

    def _read(self, number: int, start: int, stop: int) -> Tensor:
        """The rows of a value from a start to before a stop; they may lie outside the image, if an operation sees as far."""
        span = self._spans[number]
        origin = span.origin - self._positions[number] if self._values[number].kept else span.start
        return _some(self._tensors[number])[:, :, start - origin : stop - origin]

    def _output(self) -> Tensor:
        last = len(self._values) - 1
        span = self._spans[last]
        if span.start == span.stop:
            return torch.empty((1, self._values[last].channels, 0, self._columns[last]), dtype=self._types[last], device=self._device)
        return self._read(last, span.start, span.stop)

    def _compute(self, number: int, image: Tensor, target: Tensor | None) -> Tensor:
        """The rows of a value, in ``target`` if it can be."""
        operation, start, stop = self._values[number].operation, self._spans[number].start, self._spans[number].stop
        if isinstance(operation, Image):
            rows = image[:, :, start:stop]
            if target is not None:
                return target.copy_(rows)
            return rows.to(self._device, self._types[number]).contiguous(memory_format=torch.channels_last)
        if isinstance(operation, Convolution):
            return self._convolution(operation, start, stop)
        if isinstance(operation, Pointwise):
            arguments = [self._argument(argument, number) for argument in operation.arguments]
            return operation.function(*arguments, **dict(operation.keywords), out=target)
        if isinstance(operation, Concatenation):
            return torch.cat([self._read(value, start, stop) for value in operation.values], 1, out=target)
        if isinstance(operation, Resampling):
            return self._resampling(operation, start, stop, target)
        (value,) = operation.reads  # a cast
        return _some(target).copy_(self._read(value, start, stop))

    def _convolution(self, operation: Convolution, start: int, stop: int) -> Tensor:
        total: Tensor | None = None
        for term in sorted(operation.terms, key=lambda term: term.kernel is None):
            if term.kernel is None:
                total = _some(total).add_(self._read(term.value, start, stop))
                continue
            (down, across), (weight, bias) = term.kernel.reach, self._weights[term.kernel]
            rows = self._read(term.value, start - down, stop + down)
            result = F.conv2d(rows, weight, bias, 1, (0, across), term.kernel.dilation, term.kernel.groups)
            total = result.contiguous(memory_format=torch.channels_last) if total is None else total.add_(result)
        return _some(total)

    def _argument(self, argument: object, number: int) -> object:
        if isinstance(argument, Ref):
            return self._read(argument.value, self._spans[number].start, self._spans[number].stop)
        return self._weights[argument][0] if isinstance(argument, Constant) else argument

    def _resampling(self, operation: Resampling, start: int, stop: int, target: Tensor | None) -> Tensor:
        factor = operation.factor
        if isinstance(operation, Unshuffle):
            return F.pixel_unshuffle(self._read(operation.value, start * factor, stop * factor), factor)
        rows = self._read(operation.value, start // factor, stop // factor)
        if isinstance(operation, Shuffle):
            return F.pixel_shuffle(rows, factor)
        assert isinstance(operation, Nearest)
        _, channels, height, width = rows.shape
        _some(target).view(1, channels, height, factor, width, factor).copy_(rows[:, :, :, None, :, None])
        return _some(target)


@dataclass(frozen=True)
class _Span:
    """Rows of a value in a strip."""

    origin: int
    """The first one; it may lie above the image, or below."""
    start: int
    """The first one within the image."""
    stop: int
    """Before this one ends what is within the image; it equals ``start`` if nothing is."""

    @staticmethod
    def of(origin: int, count: int, rows: int) -> _Span:
        return _Span(origin, min(max(origin, 0), rows), min(max(origin + count, 0), rows))


def even_strips(plan: Plan, height: int, strip: int) -> tuple[int, int]:
    """The rows of nearly equal strips that are no higher than asked for, but for the plan's unit, and how many there are."""
    rows, unit = height + plan.lag, plan.unit
    strips = math.ceil(rows / (max(strip, unit) // unit * unit))
    strip = math.ceil(rows / strips / unit) * unit
    return strip, math.ceil(rows / strip)


def _some(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor
