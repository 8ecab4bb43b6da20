"""Upscaling in tiles: for networks that cannot be streamed, for tiles of a chosen size, and on a GPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from .._util import process
from ..image_ops.sizes import Pair
from ..models.build import Model
from .context import Context
from .memory_footprint import Footprint, footprint
from .precision import Arithmetic
from .prepared_plan import receptive_field_of
from .progress import Meter
from .recovery import Failure, Recovery
from .report import Method, Recovered
from .runner import MEMORY_SHARE, Frame
from .settings import Settings
from .tiling import Halo, Tile, by_area, by_side, levelled, ramp_weights

SMALLEST_TILE = 32
"""Side in pixels of the smallest tile that is tried before memory is said to be too short."""

_LARGEST_HALO = 64
"""Networks that see further are tiled as if they saw everything: an exact halo would cost more than the image itself."""

_BLENDED = Halo(width=16, ramp=32)
"""For networks that see everything, or too far: the context that matters most, and a ramp as wide as it."""

_FEWEST_PIXELS_ON_CPU = 256 * 256
"""Pixels of a tile below which its halo costs more than larger blocks of memory do."""

_BATCHES_IN_GROUP = 4
"""Batches that a group of frames makes, at most."""

_footprints: WeakKeyDictionary[nn.Module, Footprint] = WeakKeyDictionary()


def halo_of(model: Model) -> Halo:
    """Return the context that tiles of a model need around them."""
    field = receptive_field_of(model)
    return _BLENDED if field is None or field.radius > _LARGEST_HALO else Halo(width=field.radius, unit=field.unit)


def footprint_of(model: Model) -> Footprint:
    """Return the memory that a forward pass of a model needs."""
    if model.model not in _footprints:
        _footprints[model.model] = footprint(model)
    return _footprints[model.model]


def bytes_for(model: Model, dtype: torch.dtype, size: Pair) -> int:
    """Return the bytes that should be free for an image of a size to go through a model in one piece."""
    return int(_peak(model, dtype) * size[0] * size[1] / MEMORY_SHARE)


def _peak(model: Model, dtype: torch.dtype) -> float:
    """Return the bytes that a pixel of the input takes."""
    return footprint_of(model).peak * dtype.itemsize / torch.float32.itemsize


class TileRunner:
    """A runner of a fused model on frames of one size, in tiles of a chosen side, or as large as is fast and fits into memory."""

    def __init__(
        self, model: Model, context: Context, settings: Settings, arithmetic: Arithmetic, size: Pair, free: int, meter: Meter
    ) -> None:
        self._model, self._device, self._dtype, self._meter = model, context.device_for(model), arithmetic.dtype, meter
        self._halo = halo_of(model)
        layout = torch.channels_last if self._halo.ramp == 0 else torch.contiguous_format
        probes = context.probes
        self._network = probes.device_copy(model, self._device, layout, settings.compiled, probes.transfer(self._device))
        self._recovery = Recovery(model, self._device, probes.give_back)
        self._most_pixels = float("inf")
        """Pixels that fit through the network at a time, as far as is known."""
        busy = probes.busy_pixels(self._device)
        most = self._most_that_fit(free)
        self._together = 0 if settings.tile is not None else int(min(most, busy))
        """Pixels up to which small tiles run side by side."""
        self._tiles = (
            by_side(*size, settings.tile, self._halo)
            if settings.tile is not None
            else by_area(*size, max(most, SMALLEST_TILE**2), self._halo)
        )
        if self._halo.unit == 1 and (settings.compiled or busy):
            self._tiles = levelled(self._tiles, *size)
        self.group = max(_BATCHES_IN_GROUP, _BATCHES_IN_GROUP * self._together // (size[0] * size[1])) if busy else 1
        """Frames that make enough batches for one to be brought back while the next is computed."""

    @property
    def method(self) -> Method:
        """The tiles, and the type of the arithmetic."""
        rows, columns = self._tiles[0].rows.core, self._tiles[0].columns.core
        name = str(self._dtype).removeprefix("torch.")
        return Method("tiles", len(self._tiles), (rows[1] - rows[0], columns[1] - columns[0]), name)

    @property
    def recovered(self) -> Recovered:
        """The failures so far."""
        return self._recovery.recovered

    def run(self, frames: Iterable[Frame]) -> None:
        """Upscale frames. While one batch of tiles is computed, the one before it is brought back."""
        waiting: deque[_Running] = deque()
        for batch in self._batches(frames):
            self._meter.report()
            running = self._start(batch)
            if running is not None:
                waiting.append(running)
            while waiting and (running is None or len(waiting) > self._network.transfer.ahead):
                self._finish(waiting.popleft())
            if running is None:
                for piece in batch:
                    self._place(piece, self._upscaled(piece.planes, self._dtype))
        for running in waiting:
            self._finish(running)

    def _most_that_fit(self, free: int) -> float:
        """Return the pixels of the largest tile that fits and, on a CPU, is fast."""
        most = free * MEMORY_SHARE / _peak(self._model, self._dtype)
        if self._device.type == "cpu":
            activation = footprint_of(self._model).activation * self._dtype.itemsize / torch.float32.itemsize
            most = min(most, max(process.KEPT_BY_ALLOCATOR / activation, _FEWEST_PIXELS_ON_CPU))
        return most

    def _batches(self, frames: Iterable[Frame]) -> Iterator[list[_Piece]]:
        """Yield tiles of one shape, from one frame or several, that go through the network side by side."""
        batch: list[_Piece] = []
        for frame in frames:
            target = _Canvas(frame.result, self._model.scale, self._halo)
            for tile in self._tiles:
                piece = _Piece(_read(frame.planes, tile), tile, target, frame.join)
                most = min(self._together, self._most_pixels)
                if batch and (piece.planes.shape != batch[0].planes.shape or (len(batch) + 1) * piece.pixels > most):
                    yield batch
                    batch = []
                batch.append(piece)
        if batch:
            yield batch

    def _start(self, batch: list[_Piece]) -> _Running | None:
        """Start a batch, and return None if there is no memory for it."""
        pixels = len(batch) * batch[0].pixels
        if pixels > self._most_pixels:
            return None
        running = self._recovery.attempt(partial(self._launch, batch))
        if isinstance(running, Failure):
            self._shrink(pixels)
            return None
        return running

    def _launch(self, batch: list[_Piece]) -> _Running:
        images = torch.cat([piece.planes for piece in batch]) if len(batch) > 1 else batch[0].planes
        result, sums = self._network(images, self._dtype)
        fetch = self._network.transfer.fetch
        return _Running(batch, fetch(result, batch[0].target.device), fetch(sums, torch.device("cpu")))

    def _finish(self, running: _Running) -> None:
        results, sums = (fetched().chunk(len(running.batch)) for fetched in (running.result, running.sums))
        for piece, result, total in zip(running.batch, results, sums, strict=True):
            if not total.isfinite().all():
                self._recovery.not_finite(self._dtype)
                result = self._upscaled(piece.planes, torch.float32)
            self._place(piece, result)

    def _place(self, piece: _Piece, result: Tensor) -> None:
        piece.target.paste(piece.join(result), piece.tile)
        self._meter.done += piece.tile.core_pixels

    def _upscaled(self, image: Tensor, dtype: torch.dtype) -> Tensor:
        """Return (planes, C', h * scale, w * scale) in 0..1 for (planes, C, h, w): in one piece if it fits, else in smaller tiles."""
        height, width = image.shape[-2:]
        if height * width <= self._most_pixels:
            self._meter.report()
            output = self._recovery.attempt(partial(self._network, image, dtype))
            if not isinstance(output, Failure):
                result, sums = output
                if sums.isfinite().all():
                    return result
                self._recovery.not_finite(dtype)
                return self._upscaled(image, torch.float32)
            self._shrink(height * width)
        tiles = by_area(height, width, self._most_pixels, self._halo)
        largest = max(tile.rows.length * tile.columns.length for tile in tiles)
        if max(height, width) <= SMALLEST_TILE or len(tiles) == 1 or largest >= height * width:
            raise self._recovery.exhausted(height, width)
        scale = self._model.scale
        result = torch.empty((image.shape[0], self._model.output_channels, height * scale, width * scale), device=image.device)
        target = _Canvas(result, scale, self._halo)
        for tile in tiles:
            target.paste(self._upscaled(_read(image, tile), dtype), tile)
        return result

    def _shrink(self, pixels: int) -> None:
        """Remember that a piece with this number of pixels did not fit."""
        self._most_pixels = pixels // 2
        self._recovery.out_of_memory()


class _Canvas:
    """A tensor (..., H * scale, W * scale) that is put together from tiles."""

    def __init__(self, result: Tensor, scale: int, halo: Halo) -> None:
        self._result, self._scale, self._blended = result, scale, halo.ramp > 0
        if self._blended:
            result.zero_()

    @property
    def device(self) -> torch.device:
        return self._result.device

    def paste(self, upscaled: Tensor, tile: Tile) -> None:
        """Write the kept pixels of a tile's result where they belong."""
        axes = tile.rows, tile.columns
        rows, columns = (_scaled(axis.kept, axis.read[0], self._scale) for axis in axes)
        kept = upscaled[..., rows, columns]
        rows, columns = (_scaled(axis.kept, 0, self._scale) for axis in axes)
        target = self._result[..., rows, columns]
        if not self._blended:
            target.copy_(kept)
            return
        down, across = (torch.tensor(ramp_weights(axis, self._scale), device=kept.device) for axis in axes)
        target += (kept * (down[:, None] * across)).to(target)


@dataclass(frozen=True)
class _Piece:
    """A tile of a frame."""

    planes: Tensor
    """(planes, C, h, w): the input of the network."""
    tile: Tile
    target: _Canvas
    join: Callable[[Tensor], Tensor]

    @property
    def pixels(self) -> int:
        """Pixels of the input, with the halo."""
        return self.planes.shape[-2] * self.planes.shape[-1]


@dataclass(frozen=True)
class _Running:
    """A batch on its way through the network and back."""

    batch: list[_Piece]
    result: Callable[[], Tensor]
    sums: Callable[[], Tensor]


def _read(image: Tensor, tile: Tile) -> Tensor:
    return image[..., slice(*tile.rows.read), slice(*tile.columns.read)]


def _scaled(pixels: Pair, origin: int, scale: int) -> slice:
    return slice((pixels[0] - origin) * scale, (pixels[1] - origin) * scale)
