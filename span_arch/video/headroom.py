"""Colours of YUV that RGB has not, such as whites above white, on their way around a network."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor

from ..image_ops.resize import Resize
from ..image_ops.sizes import Route, Size, route

_SPAN = 4
"""What is beyond 0..1 is between minus and plus half of it, in all that YUV can say; a power of two, so that nothing is rounded."""


class Beyond:
    """What frames have beyond 0..1 is taken off before the network, which gives nothing beyond, and put on again behind it.

    Cameras write whites above white, which are detail until somebody grades them, and subsampled chroma mixes with luma to colours that
    RGB has not. Where there are none, nothing is computed.

    Args:
        size: that is asked for.
        scale: of the network.
    """

    def __init__(self, size: Size | None, scale: int) -> None:
        self._size, self._scale = size, scale
        self._waiting: deque[Tensor | None] = deque()
        self._way: Route | None = None
        self._resize: Resize

    def taken_off(self, frames: Iterator[Tensor]) -> Iterator[Tensor]:
        """Frames, (H, W, C) with colours first, in 0..1."""
        for frame in frames:
            low, high = torch.aminmax(frame[..., :3])
            if low >= 0 and high <= 1:
                self._waiting.append(None)
                yield frame
                continue
            inside = frame.clamp(0, 1)
            self._waiting.append((frame - inside)[..., :3])
            yield inside

    def put_on(self, results: Iterator[Tensor]) -> Iterator[Tensor]:
        """Results of those frames, in their order, with what was taken off, as large as they are. They are changed in place."""
        for result in results:
            rest = self._waiting.popleft()
            if rest is not None:
                self._add(result, rest)
            yield result

    def _add(self, result: Tensor, rest: Tensor) -> None:
        height, width, channels = rest.shape
        way = route(self._size, height, width, self._scale)
        if not way.filtered:  # each pixel becomes a square of them, and most often few have something
            rows, columns = rest.any(-1).nonzero(as_tuple=True)
            squares = result.view(height, way.size[0] // height, width, way.size[1] // width, -1)
            squares[rows, :, columns, :, :channels] += rest[rows, columns][:, None, None]
            return
        if way != self._way:
            self._way, self._resize = way, Resize("area", way.steps[0], way.whole, way.size)
        large = torch.empty(channels, *way.size, device=rest.device)
        self._resize(rest.movedim(-1, 0).div(_SPAN).add_(0.5), large)  # which gives what is in 0..1
        result[..., :channels] += large.sub_(0.5).mul_(_SPAN).movedim(0, -1)
