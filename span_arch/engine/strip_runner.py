"""Upscaling in strips of rows: their size, and their results in place."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from .._util import process
from ..image_ops.sizes import Pair
from ..models.build import Model
from ..models.spandrel_compat import pad
from ..streaming import Stream
from .context import Context, CpuCache
from .precision import FLOAT32, Arithmetic
from .prepared_plan import PreparedPlan
from .progress import Meter
from .recovery import Failure, NotFinite, Recovery, Saturated
from .report import Method, Recovered
from .runner import MEMORY_SHARE, Frame
from .tiling import Halo, Interval, divide

SMALLEST_STRIP = 4
"""Rows of the smallest strip that is tried before the image is cut into columns."""

SMALLEST_COLUMNS = 32
"""Columns of the narrowest piece that is tried before memory is said to be too short."""

_FEWEST_ROWS = 8
"""Rows of a strip below which copying the rows that convolutions keep costs more than cutting the image into columns."""

_MOST_SATURATED = 0.01
"""Share of a row's values at their limits above which a strip is computed in float32. Within its limits a network may still amplify the
smallest difference there. No strip of Set5 and Set14 reaches it, and aliased text exceeds it."""


@dataclass(frozen=True)
class StripSize:
    """How much of an image goes through the network at a time."""

    rows: int
    """Rows of a strip, at most."""
    columns: int
    """Columns of the image, at most, without their halo."""

    def smaller(self) -> StripSize | None:
        """Return the next smaller size to try, or None below the smallest."""
        if self.rows > SMALLEST_STRIP:
            return StripSize(max(SMALLEST_STRIP, self.rows // 2), self.columns)
        if self.columns > SMALLEST_COLUMNS:
            return StripSize(self.rows, max(SMALLEST_COLUMNS, math.ceil(self.columns / 2)))
        return None


class StripRunner:
    """A runner of a fused model on frames of one size, in strips.

    ``make_room`` receives the bytes that would be best, and returns the bytes that are free. ``meter`` reports between strips.
    """

    group = 1
    """One frame in strips keeps any device busy."""

    def __init__(
        self, model: Model, context: Context, arithmetic: Arithmetic, size: Pair, make_room: Callable[[int], int], meter: Meter
    ) -> None:
        self._model, self._device, self._meter = model, context.device_for(model), meter
        self._make_stream = context.probes.stream

        def prepared(arithmetic: Arithmetic) -> PreparedPlan:
            plan = context.probes.plan_for(model, mixed=arithmetic.mixed)
            assert plan is not None
            return PreparedPlan(model, plan, self._device, arithmetic)

        self._fast = prepared(arithmetic)
        self._exact = self._fast if arithmetic == FLOAT32 else prepared(FLOAT32)
        self._halo = Halo(width=self._fast.plan.halo, unit=self._fast.plan.unit)
        self._recovery = Recovery(model, self._device, context.probes.give_back)
        self._stream: tuple[object, Stream] | None = None
        across, down = model.size_requirements.get_padding(size[1], size[0])
        self._height = size[0] + down
        self._size = self._fitting(self._height, size[1] + across, context.probes.cache, make_room)
        process.keep_freed_blocks(self._device)

    @property
    def method(self) -> Method:
        """The strips, and the types of the arithmetic."""
        size = min(self._size.rows, self._height), self._size.columns
        return Method("strips", math.ceil(self._height / size[0]), size, self._fast.arithmetic.name)

    @property
    def recovered(self) -> Recovered:
        """The failures so far."""
        return self._recovery.recovered

    def run(self, frames: Iterable[Frame]) -> None:
        """Upscale frames, one by one."""
        for frame in frames:
            height, width = frame.planes.shape[2:]
            before = self._meter.done
            planes = pad(frame.planes, self._model.size_requirements)
            for index, plane in enumerate(planes):
                target = frame.result if len(planes) == 1 else frame.result[index : index + 1]
                self._run_piece(_Piece(plane[None], target, frame.join, self._model.scale, len(planes)))
                self._meter.done = before + height * width * (index + 1) // len(planes)

    def _fitting(self, height: int, width: int, cache: CpuCache, make_room: Callable[[int], int]) -> StripSize:
        """Return the fastest size for frames of a height and width that fits into the memory there is."""
        size = self._fastest(height, width, cache)
        free = int(make_room(int(self._bytes(size, width) / MEMORY_SHARE)) * MEMORY_SHARE)
        while self._bytes(size, width) > free and (smaller := size.smaller()) is not None:
            size = smaller
        return size

    def _fastest(self, height: int, width: int, cache: CpuCache) -> StripSize:
        whole = height + self._fast.plan.lag
        if self._device.type != "cpu":
            return StripSize(whole, width)
        pixel = self._fast.pixel_bytes
        columns = math.ceil(width / math.ceil(width * pixel * _FEWEST_ROWS / cache.most))
        row = columns * pixel
        return StripSize(min(whole, int(max(cache.good / row, min(cache.rows, cache.most / row), _FEWEST_ROWS))), columns)

    def _bytes(self, size: StripSize, width: int) -> int:
        return self._fast.bytes(size.rows, min(width, size.columns + 2 * self._halo.width))

    def _run_piece(self, piece: _Piece) -> None:
        """Upscale an image: all of its columns side by side, or fewer at a time if they do not fit."""
        width = piece.image.shape[3]
        pending = deque((columns, 0) for columns in divide((0, width), width, math.ceil(width / self._size.columns), self._halo))
        while pending:
            columns, row = pending.popleft()
            row = self._run_columns(piece, columns, row)
            if row < piece.height:
                start, stop = columns.core
                parts = divide(columns.core, width, math.ceil((stop - start) / self._size.columns), self._halo)
                pending.extendleft((part, row) for part in reversed(parts))

    def _run_columns(self, piece: _Piece, columns: Interval, row: int) -> int:
        """Upscale some columns from a row on, and return the row that was reached: the last, or one where they became too wide."""
        prepared, attempt = self._fast, None
        while row < piece.height:
            self._meter.report()
            attempt = attempt or self._attempt(prepared, piece, columns, row)
            result = self._recovery.attempt(partial(next, attempt))
            if result is Failure.NOT_FINITE:
                self._recovery.not_finite(prepared.arithmetic.narrow)
                prepared, attempt = self._exact, None
            elif result is Failure.SATURATED:
                self._recovery.saturated()
                prepared, attempt = self._exact, None
            elif result is Failure.OUT_OF_MEMORY:
                attempt = self._stream = None  # with all the memory that they hold
                self._recovery.out_of_memory()
                self._shrink(piece.image.shape[2] - row, columns)
                if columns.core[1] - columns.core[0] > self._size.columns:
                    return row
            else:
                self._meter.done += piece.pixels(columns, row, result)
                row = result
        return row

    def _shrink(self, rows: int, columns: Interval) -> None:
        """Choose a smaller size after a piece with these numbers of rows and columns did not fit."""
        failed = StripSize(min(self._size.rows, rows + self._fast.plan.lag), min(self._size.columns, columns.core[1] - columns.core[0]))
        smaller = failed.smaller()
        if smaller is None:
            raise self._recovery.exhausted(failed.rows, failed.columns)
        self._size = smaller

    def _attempt(self, prepared: PreparedPlan, piece: _Piece, columns: Interval, row: int) -> Iterator[int]:
        """Upscale columns from a row on. After every strip, yield the row before which all is finished."""
        first = max(0, row - self._halo.width)
        first -= first % self._halo.unit
        window = piece.image[:, :, first:, slice(*columns.read)]
        done = first * piece.scale
        stream = self._stream_for(prepared, window.shape[2], window.shape[3])
        for rows in stream(window):
            # A sum is finite only if all of its terms are. It takes one pass over memory and makes no tensor of truth values.
            if not rows.sum(dtype=torch.float32).isfinite():
                raise NotFinite
            if stream.saturation > _MOST_SATURATED:
                raise Saturated
            piece.paste(rows, done, row * piece.scale, columns)
            done += rows.shape[2]
            yield max(row, min(done // piece.scale, piece.height))

    def _stream_for(self, prepared: PreparedPlan, height: int, width: int) -> Stream:
        key = prepared, height, width, self._size.rows
        if self._stream is None or self._stream[0] != key:
            self._stream = None  # releases its memory before the next one takes its own
            self._stream = key, prepared.stream(height, width, self._size.rows, self._make_stream)
        return self._stream[1]


@dataclass(frozen=True)
class _Piece:
    """An image, and the place of its result."""

    image: Tensor
    """(1, C, H, W), padded as the network requires."""
    target: Tensor
    """(C', height * scale, width * scale)"""
    join: Callable[[Tensor], Tensor]
    scale: int
    planes: int
    """How many images make one frame."""

    @property
    def height(self) -> int:
        """Rows without padding."""
        return self.target.shape[1] // self.scale

    def paste(self, rows: Tensor, first: int, wanted: int, columns: Interval) -> None:
        """Write rows of the output, (1, C', h, w), into the target: they begin with row ``first``, and are kept from ``wanted`` on."""
        left = (columns.kept[0] - columns.read[0]) * self.scale
        start, begin = max(first, wanted), columns.kept[0] * self.scale
        target = self.target[:, start : max(start, first + rows.shape[2]), begin : columns.kept[1] * self.scale]
        if target.numel():
            kept = rows[:, :, start - first :, left:][:, :, : target.shape[1], : target.shape[2]]
            target.copy_(self.join(kept.clamp_(0, 1)))

    def pixels(self, columns: Interval, start: int, stop: int) -> int:
        """Return how many pixels of a frame some rows are."""
        first, last = (min(column, self.target.shape[2] // self.scale) for column in columns.core)
        return (stop - start) * (last - first) // self.planes
