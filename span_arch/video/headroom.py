"""Colours of YUV outside of RGB, such as whites above white, which bypass the network."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import torch
from torch import Tensor

from ..image_ops.resize import Resize
from ..image_ops.sizes import Route, Size, route

_SPAN = 4
"""The excess over 0..1 lies between minus and plus half of this for any YUV sample. A power of two, so that nothing is rounded."""


class Headroom:
    """The excess of frames over 0..1, which is removed before the network and added to its results again.

    Cameras record whites above white, which keep detail until grading, and subsampled chroma combines with luma to colours outside of
    RGB. Frames without any are passed on as they are.
    """

    def __init__(self, size: Size | None, scale: int) -> None:
        self._size, self._scale = size, scale
        self._waiting: deque[Tensor | None] = deque()
        self._resize: tuple[Route, Resize] | None = None

    def remove(self, frames: Iterator[Tensor]) -> Iterator[Tensor]:
        """Yield frames, (H, W, C) with colours first, clamped to 0..1."""
        for frame in frames:
            low, high = torch.aminmax(frame[..., :3])
            if low >= 0 and high <= 1:
                self._waiting.append(None)
                yield frame
                continue
            inside = frame.clamp(0, 1)
            self._waiting.append((frame - inside)[..., :3])
            yield inside

    def restore(self, results: Iterator[Tensor]) -> Iterator[Tensor]:
        """Yield the results of those frames, in their order, with the resized excess added in place."""
        for result in results:
            excess = self._waiting.popleft()
            if excess is not None:
                self._add(result, excess)
            yield result

    def _add(self, result: Tensor, excess: Tensor) -> None:
        height, width, channels = excess.shape
        plan = route(self._size, height, width, self._scale)
        if not plan.filtered:  # each pixel becomes a square, and usually few pixels have an excess
            rows, columns = excess.any(-1).nonzero(as_tuple=True)
            squares = result.view(height, plan.size[0] // height, width, plan.size[1] // width, -1)
            squares[rows, :, columns, :, :channels] += excess[rows, columns][:, None, None]
            return
        if self._resize is None or self._resize[0] != plan:
            self._resize = plan, Resize("area", plan.steps[0], plan.whole, plan.size)
        large = torch.empty(channels, *plan.size, device=excess.device)
        self._resize[1](excess.movedim(-1, 0).div(_SPAN).add_(0.5), large)  # the filter clamps to 0..1
        result[..., :channels] += large.sub_(0.5).mul_(_SPAN).movedim(0, -1)
