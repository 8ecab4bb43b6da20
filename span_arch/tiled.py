"""Upscaling in tiles: for networks that cannot be streamed, and where a tile's size is asked for."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import torch
from spandrel import ImageModelDescriptor
from torch import Tensor, nn

from . import memory
from .errors import NotFiniteError, OutOfMemoryError
from .footprint import Footprint, footprint
from .meter import Meter
from .receptive_field import receptive_field
from .tiling import Context, Tile, by_area, ramp_weights

Model = ImageModelDescriptor[nn.Module]

SMALLEST_TILE = 32
"""Side in pixels of the smallest tile that is tried before memory is said to be too short."""

_LARGEST_HALO = 64
"""A network that sees further is tiled as if it saw without end: an exact halo would cost more than the image itself."""

_BLENDED = Context(halo=16, ramp=32)
"""For networks that see without end, or too far: what matters most of their sight, and a ramp as wide as it."""

_LEAST_ON_CPU = 256 * 256
"""Pixels of a tile below which halos cost more than that does."""

_SHARE = 0.7
"""Of free memory that tiles may fill: convolutions want workspace beside the tensors that are counted."""

_log = logging.getLogger(__name__)


def context_of(model: Model) -> Context:
    """What tiles of a model need of their neighbourhood."""
    if model.model not in _contexts:
        sight = receptive_field(model.model)
        context = _BLENDED
        if sight is not None and sight.radius <= _LARGEST_HALO:
            context = Context(halo=sight.radius, unit=sight.unit)
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


def within(model: Model, device: torch.device, dtype: torch.dtype, height: int, width: int, free: int) -> list[Tile]:
    """The tiles of a frame that are as large as the free bytes allow and, on a CPU, as is fastest."""
    most = free * _SHARE / _peak(model, dtype)
    if device.type == "cpu":
        activation = footprint_of(model).activation * dtype.itemsize / torch.float32.itemsize
        most = min(most, max(memory.KEPT_BY_ALLOCATOR / activation, _LEAST_ON_CPU))
    return by_area(height, width, max(most, SMALLEST_TILE**2), context_of(model))


def _peak(model: Model, dtype: torch.dtype) -> float:
    """Bytes per pixel."""
    return footprint_of(model).peak * dtype.itemsize / torch.float32.itemsize


_contexts: WeakKeyDictionary[nn.Module, Context] = WeakKeyDictionary()
_footprints: WeakKeyDictionary[nn.Module, Footprint] = WeakKeyDictionary()


class _Canvas:
    """A tensor (..., H * scale, W * scale) that is put together of tiles."""

    def __init__(self, result: Tensor, scale: int, context: Context) -> None:
        self._result, self._scale, self._blended = result, scale, context.ramp > 0
        if self._blended:
            result.zero_()

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
    """A model at work on one device: private copies of it, and tiles that fit.

    Args:
        model: fused.
        device: where to compute.
        dtype: of the arithmetic.
        tiles: those of a frame, in the order in which they are to be run.
        meter: told between tiles.
    """

    def __init__(self, model: Model, device: torch.device, dtype: torch.dtype, tiles: list[Tile], meter: Meter) -> None:
        self._model, self._device, self._dtype, self._tiles, self._meter = model, device, dtype, tiles, meter
        self._copies: dict[torch.dtype, Model] = {}
        self._most_pixels = float("inf")  # that a tile may read, as far as is known
        self._redone = 0
        self._watch = _Watch()
        self._context = context_of(model)

    def run(self, planes: Tensor, result: Tensor, join: Callable[[Tensor], Tensor]) -> None:
        """Upscales a frame.

        Args:
            planes: (planes, C, H, W), what the network is shown.
            result: (C', H * scale, W * scale), written into.
            join: makes colours of what the network gives for all planes.
        """
        canvas = _Canvas(result, self._model.scale, self._context)
        for piece in self._tiles:
            canvas.paste(join(self(_read(planes, piece))), piece)
            self._meter.done += piece.core_pixels

    def __call__(self, image: Tensor) -> Tensor:
        """(planes, C, h, w) -> (planes, C', h * scale, w * scale) in 0..1, in one piece if it fits, else of smaller tiles."""
        height, width = image.shape[-2:]
        if height * width <= self._most_pixels:
            self._meter.tell()
            try:
                return self._finite(image)
            except (RuntimeError, MemoryError) as error:
                if not memory.is_out_of_memory(error):
                    raise
            # Only here is the failed pass forgotten, with all that its traceback held.
            self._most_pixels = height * width // 2
            memory.give_back(self._device)
        tiles = by_area(height, width, self._most_pixels, self._context)
        if max(height, width) <= SMALLEST_TILE or len(tiles) == 1 or self._largest(tiles) >= height * width:
            raise OutOfMemoryError(
                f"There is not enough memory on '{self._device}' even for a tile of {width}x{height} pixels. Close other programs, or "
                "other models, or choose another device."
            )
        scale = self._model.scale
        result = torch.empty((image.shape[0], self._model.output_channels, height * scale, width * scale), device=image.device)
        canvas = _Canvas(result, scale, self._context)
        for piece in tiles:
            canvas.paste(self(_read(image, piece)), piece)
        return result

    def report(self) -> None:
        """Says in the log what had to be redone."""
        if self._redone:
            _log.warning("%d tiles came out as NaN or infinity in %s and were redone in float32.", self._redone, self._dtype)

    def _finite(self, image: Tensor) -> Tensor:
        result = self._forward(image, self._dtype)
        if not self._watch.finite and self._dtype is not torch.float32:
            result = self._forward(image, torch.float32)
            self._redone += 1
        if not self._watch.finite:
            raise NotFiniteError(
                f"The network ({self._model.architecture.name}) gives NaN or infinity for a tile of this image, in float32 too. "
                "Its weights are damaged, or the image has values far beyond 0..1."
            )
        return result

    def _forward(self, image: Tensor, dtype: torch.dtype) -> Tensor:
        layout = torch.channels_last if self._context.ramp == 0 else torch.contiguous_format
        if dtype not in self._copies:
            self._copies[dtype] = _private_copy(self._model, self._device, dtype, layout)
            self._copies[dtype].model.register_forward_hook(self._watch)
        self._watch.finite = True
        return self._copies[dtype](image.to(self._device, dtype).contiguous(memory_format=layout))

    @staticmethod
    def _largest(tiles: Sequence[Tile]) -> int:
        return max(piece.rows.length * piece.columns.length for piece in tiles)


class _Watch:
    """Looks at what a network gives before spandrel clamps it to 0..1, which would make white of infinity."""

    # An object of its own: if the network knew its runner, which knows the network, both would outlive their use.

    def __init__(self) -> None:
        self.finite = True

    def __call__(self, module: nn.Module, arguments: object, result: object) -> None:
        # A sum is finite only if all of its terms are: one pass over memory, and no tensor of truths.
        if isinstance(result, Tensor) and not result.sum(dtype=torch.float32).isfinite():
            self.finite = False


def _private_copy(model: Model, device: torch.device, dtype: torch.dtype, layout: torch.memory_format) -> Model:
    """The same model, sharing nothing with it: whatever else uses it never finds it moved or cast."""
    shell = copy.copy(model)
    vars(shell).pop("patcher", None)  # what a host hangs on a model is not ours to copy
    private = copy.deepcopy(shell).to(device, dtype)
    private.model.to(memory_format=layout)  # type: ignore[call-overload]
    return private


def _read(image: Tensor, tile: Tile) -> Tensor:
    return image[..., slice(*tile.rows.read), slice(*tile.columns.read)]


def _scaled(pixels: tuple[int, int], origin: int, scale: int) -> slice:
    return slice((pixels[0] - origin) * scale, (pixels[1] - origin) * scale)
