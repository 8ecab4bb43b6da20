"""Upscaling in strips of rows: what is fast, and what is done if memory runs out or the arithmetic does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .._util import memory
from ..errors import NotFiniteError, OutOfMemoryError
from ..models.build import Model
from ..streaming import Stream
from .prepared_plan import Arithmetic
from .progress import Meter
from .runner import Frame
from .tiling import Halo, Interval, divide

SMALLEST_STRIP = 4
"""Rows of the image in the smallest strip that is tried before the image is cut into columns."""

SMALLEST_COLUMNS = 32
"""Columns of the image in the narrowest piece that is tried before memory is said to be too short."""

_CACHED = 6 << 20
"""Bytes of a value in a strip that a CPU's caches hold well; larger strips are slower, but not by much."""

_CACHED_AT_ALL = 16 << 20
"""Bytes of a value beyond which they hold little of it."""

_ENOUGH_ROWS = 32
"""Rows in a strip with which what convolutions keep is copied so seldom that it hardly counts."""

_LEAST_ROWS = 8
"""Rows below which it does count, and columns are better."""

_SHARE = 0.7
"""Of free memory that a strip may fill: convolutions want workspace beside the tensors that are counted."""


class Streamed:
    """A model at work on one device, in strips.

    Args:
        model: fused, and one that `plan_for` has a plan for.
        device: where to compute.
        dtype: of the arithmetic; of what is not in bfloat16, if that is mixed in.
        mixed: whether bfloat16 is mixed in.
        meter: told between strips.
    """

    def __init__(self, model: Model, device: torch.device, dtype: torch.dtype, mixed: bool, meter: Meter) -> None:
        self._model, self._device, self._meter = model, device, meter
        self._fast = Arithmetic(model, device, dtype, mixed)
        self._safe = self._fast if dtype is torch.float32 and not mixed else Arithmetic(model, device, torch.float32, mixed=False)
        self._context = Halo(halo=self._fast.plan.halo, unit=self._fast.plan.unit)
        self._size = _Size(SMALLEST_STRIP, SMALLEST_COLUMNS)
        self._stream: tuple[object, Stream] | None = None
        self._redone = self._shrunk = self._height = 0
        memory.keep_freed_blocks(device)

    def fit(self, height: int, width: int, ask: Callable[[int], int]) -> None:
        """Chooses strips for images of a size: as is fastest, and as the free bytes allow.

        Args:
            height: of the images.
            width: of the images.
            ask: told the bytes that would do, it returns those that are free.
        """
        across, down = self._model.size_requirements.get_padding(width, height)
        self._height, width = height, width + across
        height += down
        size = self._fastest(height, width)
        free = int(ask(int(self._bytes(size, width) / _SHARE)) * _SHARE)
        while self._bytes(size, width) > free and (smaller := _smaller(size)) is not None:
            size = smaller
        self._size = size

    def run(self, frames: Iterable[Frame]) -> None:
        """Upscales frames, one by one."""
        for frame in frames:
            height, width = frame.planes.shape[2:]
            before = self._meter.done
            planes = _padded(frame.planes, *self._model.size_requirements.get_padding(width, height))
            for index, plane in enumerate(planes):
                target = frame.result if len(planes) == 1 else frame.result[index : index + 1]
                self._columns(_Piece(plane[None], target, frame.join, self._model.scale, len(planes)), (0, plane.shape[2]), 0)
                self._meter.done = before + height * width * (index + 1) // len(planes)

    @property
    def group(self) -> int:
        """So many frames at a time are best: strips are all that a device has to do."""
        return 1

    @property
    def method(self) -> str:
        """How it goes about it, in a few words."""
        strips = f"strips of {self._size.strip} rows" if self._size.strip < self._height else "one strip"
        return f"{strips}, {self._fast.name}"

    @property
    def redone(self) -> tuple[str, ...]:
        """What had to be redone so far, a sentence for each kind."""
        sentences: list[str] = []
        if self._redone:
            sentences.append(
                f"{self._redone} strips came out as NaN or infinity in {self._fast.name} and were redone in float32, with all that was "
                "below them."
            )
        if self._shrunk:
            sentences.append(
                f"Memory ran out {self._shrunk} times; strips became smaller, down to {self._size.core}x{self._size.strip} pixels."
            )
        return tuple(sentences)

    def _fastest(self, height: int, width: int) -> _Size:
        whole = height + self._fast.plan.lag
        if self._device.type != "cpu":
            return _Size(whole, width)
        pixel = self._fast.pixel_bytes
        core = math.ceil(width / math.ceil(width * pixel * _LEAST_ROWS / _CACHED_AT_ALL))
        row = core * pixel
        return _Size(min(whole, int(max(_CACHED / row, min(_ENOUGH_ROWS, _CACHED_AT_ALL / row), _LEAST_ROWS))), core)

    def _bytes(self, size: _Size, width: int) -> int:
        return self._fast.bytes(size.strip, min(width, size.core + 2 * self._context.halo))

    def _columns(self, piece: _Piece, core: tuple[int, int], row: int) -> None:
        """Upscales some columns of an image, from a row on."""
        parts = math.ceil((core[1] - core[0]) / self._size.core)
        for columns in divide(core, piece.image.shape[3], parts, self._context):
            self._strips(piece, columns, row)

    def _strips(self, piece: _Piece, columns: Interval, row: int) -> None:
        """The same, of columns that go through the network side by side, as long as there is memory for it."""
        arithmetic, attempt = self._fast, None
        while row < piece.height:
            self._meter.tell()
            try:
                attempt = attempt or self._attempt(arithmetic, piece, columns, row)
                below = next(attempt)
            except _NotFinite:
                if arithmetic is self._safe:
                    raise NotFiniteError(
                        f"The network ({self._model.architecture.name}) gives NaN or infinity for a part of this image, in float32 too. "
                        "Its weights are damaged, or the image has values far beyond 0..1."
                    ) from None
                arithmetic, attempt = self._safe, None
                self._redone += 1
                continue
            except (RuntimeError, MemoryError) as error:
                if not memory.is_out_of_memory(error):
                    raise
            else:
                self._meter.done += piece.pixels(columns, row, below)
                row = below
                continue
            # Only here is the failed attempt forgotten, with all that its traceback held.
            attempt = self._stream = None
            memory.give_back(self._device)
            self._shrink(piece.image.shape[2] - row, columns)
            if columns.core[1] - columns.core[0] > self._size.core:
                self._columns(piece, columns.core, row)
                break

    def _shrink(self, rows: int, columns: Interval) -> None:
        """Does with less memory than so many rows and columns took."""
        failed = _Size(min(self._size.strip, rows + self._fast.plan.lag), min(self._size.core, columns.core[1] - columns.core[0]))
        smaller = _smaller(failed)
        if smaller is None:
            raise OutOfMemoryError(
                f"There is not enough memory on '{self._device}' even for a strip of {failed.core}x{failed.strip} pixels. Close other "
                "programs, or other models, or choose another device."
            )
        self._size = smaller
        self._shrunk += 1

    def _attempt(self, arithmetic: Arithmetic, piece: _Piece, columns: Interval, row: int) -> Iterator[int]:
        """Upscales columns from a row on and tells, after every strip, before which row all is done."""
        first = max(0, row - self._context.halo)
        first -= first % self._context.unit
        window = piece.image[:, :, first:, slice(*columns.read)]
        done = first * piece.scale
        for rows in self._stream_of(arithmetic, window.shape[2], window.shape[3])(window):
            # A sum is finite only if all of its terms are: one pass over memory, and no tensor of truths.
            if not rows.sum(dtype=torch.float32).isfinite():
                raise _NotFinite
            piece.paste(rows, done, row * piece.scale, columns)
            done += rows.shape[2]
            yield max(row, min(done // piece.scale, piece.height))

    def _stream_of(self, arithmetic: Arithmetic, height: int, width: int) -> Stream:
        key = arithmetic, height, width, self._size.strip
        if self._stream is None or self._stream[0] != key:
            self._stream = None  # its memory is given back before more is asked for
            self._stream = key, arithmetic.stream(height, width, self._size.strip)
        return self._stream[1]


class _NotFinite(Exception):
    """NaN or infinity came out."""


@dataclass(frozen=True)
class _Size:
    """How much goes through a network at a time."""

    strip: int
    """Rows of the image, at the most."""
    core: int
    """Columns of the image, at the most, without their halo."""


def _smaller(size: _Size) -> _Size | None:
    """The next smaller one to try; None below the smallest."""
    if size.strip > SMALLEST_STRIP:
        return _Size(max(SMALLEST_STRIP, size.strip // 2), size.core)
    if size.core > SMALLEST_COLUMNS:
        return _Size(size.strip, max(SMALLEST_COLUMNS, math.ceil(size.core / 2)))
    return None


@dataclass(frozen=True)
class _Piece:
    """An image, and where its result goes."""

    image: Tensor
    """(1, C, H, W), where H and W may be larger than asked for, as the network wishes."""
    target: Tensor
    """(C', height * scale, width * scale)"""
    join: Callable[[Tensor], Tensor]
    scale: int
    share: int
    """How many images make one frame."""

    @property
    def height(self) -> int:
        """Rows that are asked for."""
        return self.target.shape[1] // self.scale

    def paste(self, rows: Tensor, first: int, wanted: int, columns: Interval) -> None:
        """Puts rows of the output, whose first is numbered ``first``, where they belong; those above the wanted ones are left out."""
        left = (columns.kept[0] - columns.read[0]) * self.scale
        start, begin = max(first, wanted), columns.kept[0] * self.scale
        target = self.target[:, start : max(start, first + rows.shape[2]), begin : columns.kept[1] * self.scale]
        if target.numel():
            kept = rows[:, :, start - first :, left:][:, :, : target.shape[1], : target.shape[2]]
            target.copy_(self.join(kept.clamp_(0, 1)))

    def pixels(self, columns: Interval, start: int, stop: int) -> int:
        """How many pixels of a frame some rows are."""
        first, last = (min(column, self.target.shape[2] // self.scale) for column in columns.core)
        return (stop - start) * (last - first) // self.share


def _padded(planes: Tensor, right: int, down: int) -> Tensor:
    """Planes with so many more columns and rows, as spandrel adds them: their mirror image and, where that ends, their last pixels."""
    if not right and not down:
        return planes
    height, width = planes.shape[2:]
    across, along = min(right, width - 1), min(down, height - 1)
    planes = F.pad(planes, (0, across, 0, along), "reflect")
    return F.pad(planes, (0, right - across, 0, down - along), "replicate")
