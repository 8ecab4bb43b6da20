"""Image tensor in, larger image tensor out."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import torch
from spandrel import ImageModelDescriptor
from torch import Tensor, nn

from . import memory
from .channels import Channels, check_image, resize_alpha
from .errors import NotFiniteError, OptionError, OutOfMemoryError
from .footprint import Footprint, footprint
from .model import adopt
from .precision import Precision, dtype_for
from .receptive_field import ReceptiveField, receptive_field
from .tiling import Context, Tile, by_area, by_side, ramp_weights

Model = ImageModelDescriptor[nn.Module]
Progress = Callable[[int, int], None]

SMALLEST_TILE = 32
"""Side in pixels of the smallest tile that is tried before memory is said to be too short."""

_LARGEST_HALO = 64
"""A network that sees further is tiled as if it saw without end: an exact halo would cost more than the image itself."""

_BLENDED = Context(halo=16, ramp=32)
"""For networks that see without end, or too far: what matters most of their sight, and a ramp as wide as it."""

_KEPT_BY_ALLOCATOR = 32 << 20
"""On a CPU, blocks larger than this go back to the system when they are freed, and the next one is mapped anew, page by page (glibc)."""

_LEAST_ON_CPU = 256 * 256
"""Pixels of a tile below which halos cost more than that does."""

_ROOM_ENOUGH = 2 << 30
"""Bytes beyond which larger tiles gain nothing to speak of, so that no more than this is asked of others."""

_SHARE = 0.7
"""Of free memory that tiles may fill: convolutions want workspace beside the tensors that are counted."""

_log = logging.getLogger(__name__)


@torch.no_grad()
def upscale(
    model: Model,
    image: Tensor,
    *,
    tile: int | None = None,
    precision: Precision = "auto",
    device: torch.device | str | None = None,
    allocate: Callable[[Sequence[int]], Tensor] | None = None,
    room: Callable[[int], int] | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """Upscales a batch of images, tile by tile.

    A tiled result equals the untiled one (to rounding) for every network whose sight is finite and not beyond 64 pixels, as that
    of the SPAN family is; tiles of other networks are blended. Neither the model nor the image is changed, whatever happens.

    Args:
        model: any spandrel image model. One of the SPAN family that is not fused yet is fused first.
        image: (B, H, W, C) of a floating type, 0..1, on any device. C is 1, 3 or 4 whatever the model takes (see `channels`).
            Values outside 0..1 are shown to the network as they are.
        tile: the side of a tile's core in pixels of the image. None: as large as memory allows, and on a CPU as is fastest.
        precision: the type of the arithmetic (see `precision`).
        device: where to compute; by default where the model is.
        allocate: makes the tensor for the result from its shape; of any floating type and on any device. By default it is
            float32, beside the image.
        room: asked once for the bytes that would do, it makes room and returns the bytes that are free. By default the device is
            asked.
        progress: called with pixels done and pixels in all: before the first tile, between tiles and after the last. What it
            raises ends the work and passes through.

    Returns:
        (B, H * scale, W * scale, C), in 0..1.

    Raises:
        ImageError: the image has another shape or type, no pixels, or values that are NaN or infinite.
        OptionError: ``tile`` is below 1, or the precision is unknown or nothing for this model.
        NotFiniteError: the network gives NaN or infinity even in float32.
        OutOfMemoryError: there is no room for a tile of 32 pixels.
    """
    check_image(image)
    if tile is not None and tile < 1:
        raise OptionError(f"A tile of {tile} pixels was asked for; expected at least 1, or none for the best size.")
    model = adopt(model)
    frames, height, width, image_channels = image.shape
    channels = Channels(image_channels, model.input_channels, model.output_channels)
    shape = (frames, height * model.scale, width * model.scale, channels.out)
    done = 0

    def between_tiles() -> None:
        if progress is not None:
            progress(done, frames * height * width)

    runner = _Runner(model, torch.device(device) if device is not None else model.device, precision, between_tiles)
    tiles = runner.tiles(height, width, tile, room)
    out = _allocate(shape, allocate or (lambda shape: torch.empty(tuple(shape), dtype=torch.float32, device=image.device)))
    for frame, target in zip(image, out, strict=True):
        planes = channels.split(frame.movedim(-1, 0))
        result = target.movedim(-1, 0)  # (H * scale, W * scale, C) -> (C, H * scale, W * scale), of the same memory
        canvas = _Canvas(result[: channels.colours], model.scale, runner.context)
        for piece in tiles:
            canvas.paste(channels.join(runner(_read(planes, piece))), piece)
            done += piece.core_pixels
        if channels.alpha:
            resize_alpha(frame[..., -1], result[-1])
    between_tiles()
    runner.report()
    return out


def _allocate(shape: tuple[int, int, int, int], allocate: Callable[[Sequence[int]], Tensor]) -> Tensor:
    try:
        return allocate(shape)
    except (RuntimeError, MemoryError) as error:
        if not memory.is_out_of_memory(error):
            raise
        frames, height, width, _ = shape
        size = math.prod(shape) * torch.float32.itemsize / 1e9
        raise OutOfMemoryError(
            f"There is not enough memory for the result: {frames} image{'s' * (frames > 1)} of {width}x{height} pixels take {size:.1f} GB. "
            "Upscale fewer images at a time, or smaller ones, or with a model of a smaller scale."
        ) from error


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


class _Runner:
    """A model at work on one device: private copies of it, and tiles that fit."""

    def __init__(self, model: Model, device: torch.device, precision: str, between_tiles: Callable[[], None]) -> None:
        self._model, self._device, self._between_tiles = model, device, between_tiles
        self._dtype = dtype_for(precision, model, device)
        self._copies: dict[torch.dtype, Model] = {}
        self._most_pixels = float("inf")  # that a tile may read, as far as is known
        self._redone = 0
        self._watch = _Watch()
        sight = _sight(model)
        self._exact = sight is not None and sight.radius <= _LARGEST_HALO
        self.context = Context(halo=sight.radius, unit=sight.unit) if sight is not None and self._exact else _BLENDED

    def tiles(self, height: int, width: int, side: int | None, room: Callable[[int], int] | None) -> list[Tile]:
        """The tiles of a frame, in the order in which they are to be run."""
        size = self._dtype.itemsize / torch.float32.itemsize
        need = _footprint(self._model)
        wanted = min(int(need.peak * size * height * width / _SHARE), _ROOM_ENOUGH)
        free = memory.free_bytes(self._device) if room is None else room(wanted)
        if side is not None:
            return by_side(height, width, side, self.context)
        most = free * _SHARE / (need.peak * size)
        if self._device.type == "cpu":
            most = min(most, max(_KEPT_BY_ALLOCATOR / (need.activation * size), _LEAST_ON_CPU))
        return by_area(height, width, max(most, SMALLEST_TILE**2), self.context)

    def __call__(self, image: Tensor) -> Tensor:
        """(planes, C, h, w) -> (planes, C', h * scale, w * scale) in 0..1, in one piece if it fits, else of smaller tiles."""
        height, width = image.shape[-2:]
        if height * width <= self._most_pixels:
            self._between_tiles()
            try:
                return self._finite(image)
            except (RuntimeError, MemoryError) as error:
                if not memory.is_out_of_memory(error):
                    raise
            # Only here is the failed pass forgotten, with all that its traceback held.
            self._most_pixels = height * width // 2
            memory.give_back(self._device)
        tiles = by_area(height, width, self._most_pixels, self.context)
        if max(height, width) <= SMALLEST_TILE or len(tiles) == 1 or self._largest(tiles) >= height * width:
            raise OutOfMemoryError(
                f"There is not enough memory on '{self._device}' even for a tile of {width}x{height} pixels. Close other programs, or "
                "other models, or choose another device."
            )
        scale = self._model.scale
        result = torch.empty((image.shape[0], self._model.output_channels, height * scale, width * scale), device=image.device)
        canvas = _Canvas(result, scale, self.context)
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
        layout = torch.channels_last if self._exact else torch.contiguous_format
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


_sights: WeakKeyDictionary[nn.Module, ReceptiveField | None] = WeakKeyDictionary()
_footprints: WeakKeyDictionary[nn.Module, Footprint] = WeakKeyDictionary()


def _sight(model: Model) -> ReceptiveField | None:
    if model.model not in _sights:
        _sights[model.model] = receptive_field(model.model)
    return _sights[model.model]


def _footprint(model: Model) -> Footprint:
    if model.model not in _footprints:
        _footprints[model.model] = footprint(model)
    return _footprints[model.model]
