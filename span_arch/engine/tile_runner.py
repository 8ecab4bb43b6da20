"""Upscaling in tiles: for networks that cannot be streamed, and where a tile's size is asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from .._util import memory
from ..errors import NotFiniteError, OutOfMemoryError
from ..models.build import Model
from ..streaming.receptive_field import receptive_field
from .device_copy import Private
from .footprint import Footprint, footprint
from .progress import Meter
from .runner import Frame
from .tiling import Halo, Tile, by_area, by_side, levelled, ramp_weights

SMALLEST_TILE = 32
"""Side in pixels of the smallest tile that is tried before memory is said to be too short."""

_LARGEST_HALO = 64
"""A network that sees further is tiled as if it saw without end: an exact halo would cost more than the image itself."""

_BLENDED = Halo(halo=16, ramp=32)
"""For networks that see without end, or too far: what matters most of their sight, and a ramp as wide as it."""

_LEAST_ON_CPU = 256 * 256
"""Pixels of a tile below which halos cost more than that does."""

_BUSY = 1 << 20
"""Pixels at a time that keep a GPU busy."""

_BATCHES = 4
"""That are made of a group of frames, at the most."""

_SHARE = 0.7
"""Of free memory that tiles may fill: convolutions want workspace beside the tensors that are counted."""


def context_of(model: Model) -> Halo:
    """What tiles of a model need of their neighbourhood."""
    if model.model not in _contexts:
        sight = receptive_field(model.model)
        context = _BLENDED
        if sight is not None and sight.radius <= _LARGEST_HALO:
            context = Halo(halo=sight.radius, unit=sight.unit)
        _contexts[model.model] = context
    return _contexts[model.model]


def footprint_of(model: Model) -> Footprint:
    """What a forward pass of a model needs of memory."""
    if model.model not in _footprints:
        _footprints[model.model] = footprint(model)
    return _footprints[model.model]


def need(model: Model, dtype: torch.dtype, height: int, width: int) -> int:
    """Bytes that should be free for an image to go through a model in one piece."""
    return int(_peak(model, dtype) * height * width / _SHARE)


def together(device: torch.device) -> int:
    """Up to how many pixels it helps to run small tiles and frames side by side on a device."""
    return 0 if device.type == "cpu" else _BUSY


def _peak(model: Model, dtype: torch.dtype) -> float:
    """Bytes per pixel."""
    return footprint_of(model).peak * dtype.itemsize / torch.float32.itemsize


_contexts: WeakKeyDictionary[nn.Module, Halo] = WeakKeyDictionary()
_footprints: WeakKeyDictionary[nn.Module, Footprint] = WeakKeyDictionary()


class _Canvas:
    """A tensor (..., H * scale, W * scale) that is put together of tiles."""

    def __init__(self, result: Tensor, scale: int, context: Halo) -> None:
        self._result, self._scale, self._blended = result, scale, context.ramp > 0
        if self._blended:
            result.zero_()

    @property
    def device(self) -> torch.device:
        return self._result.device

    def paste(self, upscaled: Tensor, tile: Tile) -> None:
        """Puts what the network has made of a tile's read pixels where the kept ones belong."""
        axes = tile.rows, tile.columns
        rows, columns = (_scaled(axis.kept, axis.read[0], self._scale) for axis in axes)
        kept = upscaled[..., rows, columns]
        rows, columns = (_scaled(axis.kept, 0, self._scale) for axis in axes)
        target = self._result[..., rows, columns]
        if not self._blended:
            target.copy_(kept)
            return
        down, across = (torch.tensor(ramp_weights(s, self._scale), device=kept.device) for s in axes)
        target += (kept * (down[:, None] * across)).to(target)


class Tiled:
    """A model at work on one device, in tiles that fit.

    Args:
        model: fused.
        device: where to compute.
        dtype: of the arithmetic.
        meter: told before every batch of tiles.
        compiled: whether networks are compiled.
    """

    def __init__(self, model: Model, device: torch.device, dtype: torch.dtype, meter: Meter, compiled: bool = False) -> None:
        self._model, self._device, self._dtype, self._meter, self._compiled = model, device, dtype, meter, compiled
        self._context = context_of(model)
        layout = torch.channels_last if self._context.ramp == 0 else torch.contiguous_format
        self._network = Private(model, device, layout, compiled)
        self._tiles: list[Tile] = []
        self._together = 0
        self._most_pixels = float("inf")  # that may go through the network at a time, as far as is known
        self._redone = self._failures = 0
        self._pixels = 1
        self._name = str(dtype).removeprefix("torch.")

    def fit(self, height: int, width: int, side: int | None, free: int) -> None:
        """Chooses tiles for frames of a size: of a side that is asked for, or as the free bytes allow and, on a CPU, as is fastest."""
        self._pixels = height * width
        if side is not None:
            self._tiles = by_side(height, width, side, self._context)
        else:
            most = free * _SHARE / _peak(self._model, self._dtype)
            if self._device.type == "cpu":
                activation = footprint_of(self._model).activation * self._dtype.itemsize / torch.float32.itemsize
                most = min(most, max(memory.KEPT_BY_ALLOCATOR / activation, _LEAST_ON_CPU))
            self._together = int(min(most, together(self._device)))
            self._tiles = by_area(height, width, max(most, SMALLEST_TILE**2), self._context)
        if self._context.unit == 1 and (self._compiled or together(self._device)):
            self._tiles = levelled(self._tiles, height, width)

    def run(self, frames: Iterable[Frame]) -> None:
        """Upscales frames. While a batch of tiles is computed, the one before it is brought back."""
        waiting: deque[_Running] = deque()
        for batch in self._batches(frames):
            self._meter.tell()
            running = self._start(batch)
            if running is not None:
                waiting.append(running)
            while waiting and (running is None or len(waiting) > self._network.transfer.ahead):
                self._finish(waiting.popleft())
            if running is None:
                for piece in batch:
                    self._place(piece, self._careful(piece.planes, self._dtype))
        for running in waiting:
            self._finish(running)

    @property
    def group(self) -> int:
        """So many frames at a time are best: enough for several batches, of which one is brought back while the next is computed."""
        return 1 if not together(self._device) else max(_BATCHES, _BATCHES * self._together // self._pixels)

    @property
    def method(self) -> str:
        """How it goes about it, in a few words."""
        tiles = len(self._tiles)
        width, height = (stop - start for start, stop in (self._tiles[0].columns.core, self._tiles[0].rows.core))
        return f"{tiles} tile{'s' * (tiles > 1)} of {width}x{height}, {self._name}"

    @property
    def redone(self) -> tuple[str, ...]:
        """What had to be redone so far, a sentence for each kind."""
        sentences: list[str] = []
        if self._redone:
            sentences.append(f"{self._redone} tiles came out as NaN or infinity in {self._name} and were redone in float32.")
        if self._failures:
            sentences.append(f"Memory ran out {self._failures} times; what did not fit was done in smaller tiles.")
        return tuple(sentences)

    def _batches(self, frames: Iterable[Frame]) -> Iterator[list[_Piece]]:
        """Tiles of one shape, of one frame or of several, that go through the network side by side."""
        batch: list[_Piece] = []
        for frame in frames:
            canvas = _Canvas(frame.result, self._model.scale, self._context)
            for tile in self._tiles:
                piece = _Piece(_read(frame.planes, tile), tile, canvas, frame.join)
                most = min(self._together, self._most_pixels)
                if batch and (piece.planes.shape != batch[0].planes.shape or (len(batch) + 1) * piece.pixels > most):
                    yield batch
                    batch = []
                batch.append(piece)
        if batch:
            yield batch

    def _start(self, batch: list[_Piece]) -> _Running | None:
        """Sends a batch on its way; None if there is no memory for it."""
        pixels = len(batch) * batch[0].pixels
        if pixels > self._most_pixels:
            return None
        try:
            images = torch.cat([piece.planes for piece in batch]) if len(batch) > 1 else batch[0].planes
            result, sums = self._network(images, self._dtype)
            fetch = self._network.transfer.fetch
            return _Running(batch, fetch(result, batch[0].canvas.device), fetch(sums, torch.device("cpu")))
        except (RuntimeError, MemoryError) as error:
            if not memory.is_out_of_memory(error):
                raise
        self._failed(pixels)
        return None

    def _failed(self, pixels: int) -> None:
        """There was no memory for so many. To be called outside of ``except``, when what the traceback held is forgotten."""
        self._most_pixels = pixels // 2
        self._failures += 1
        memory.give_back(self._device)

    def _finish(self, running: _Running) -> None:
        results, sums = (whole().chunk(len(running.batch)) for whole in (running.result, running.sums))
        for piece, result, total in zip(running.batch, results, sums, strict=True):
            self._place(piece, result if total.isfinite().all() else self._again(piece.planes, self._dtype))

    def _place(self, piece: _Piece, result: Tensor) -> None:
        piece.canvas.paste(piece.join(result), piece.tile)
        self._meter.done += piece.tile.core_pixels

    def _again(self, image: Tensor, dtype: torch.dtype) -> Tensor:
        """In float32, what came out as NaN or infinity."""
        if dtype is torch.float32:
            raise NotFiniteError(
                f"The network ({self._model.architecture.name}) gives NaN or infinity for a tile of this image, in float32 too. "
                "Its weights are damaged, or the image has values far beyond 0..1."
            )
        self._redone += 1
        return self._careful(image, torch.float32)

    def _careful(self, image: Tensor, dtype: torch.dtype) -> Tensor:
        """(planes, C, h, w) -> (planes, C', h * scale, w * scale) in 0..1, in one piece if it fits, else of smaller tiles."""
        height, width = image.shape[-2:]
        if height * width <= self._most_pixels:
            self._meter.tell()
            try:
                result, sums = self._network(image, dtype)
            except (RuntimeError, MemoryError) as error:
                if not memory.is_out_of_memory(error):
                    raise
            else:
                return result if sums.isfinite().all() else self._again(image, dtype)
            self._failed(height * width)
        return self._smaller(image, dtype)

    def _smaller(self, image: Tensor, dtype: torch.dtype) -> Tensor:
        """The same of smaller tiles."""
        height, width = image.shape[-2:]
        tiles = by_area(height, width, self._most_pixels, self._context)
        if max(height, width) <= SMALLEST_TILE or len(tiles) == 1 or self._largest(tiles) >= height * width:
            raise OutOfMemoryError(
                f"There is not enough memory on '{self._device}' even for a tile of {width}x{height} pixels. Close other programs, or "
                "other models, or choose another device."
            )
        scale = self._model.scale
        result = torch.empty((image.shape[0], self._model.output_channels, height * scale, width * scale), device=image.device)
        canvas = _Canvas(result, scale, self._context)
        for tile in tiles:
            canvas.paste(self._careful(_read(image, tile), dtype), tile)
        return result

    @staticmethod
    def _largest(tiles: Sequence[Tile]) -> int:
        return max(piece.rows.length * piece.columns.length for piece in tiles)


@dataclass(frozen=True)
class _Piece:
    """A tile of a frame."""

    planes: Tensor
    """(planes, C, h, w), what the network is shown."""
    tile: Tile
    canvas: _Canvas
    join: Callable[[Tensor], Tensor]

    @property
    def pixels(self) -> int:
        """That are read."""
        return self.planes.shape[-2] * self.planes.shape[-1]


@dataclass(frozen=True)
class _Running:
    """A batch on its way."""

    batch: list[_Piece]
    result: Callable[[], Tensor]
    sums: Callable[[], Tensor]


def _read(image: Tensor, tile: Tile) -> Tensor:
    return image[..., slice(*tile.rows.read), slice(*tile.columns.read)]


def _scaled(pixels: tuple[int, int], origin: int, scale: int) -> slice:
    return slice((pixels[0] - origin) * scale, (pixels[1] - origin) * scale)
