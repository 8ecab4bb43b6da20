"""What a user sees of an upscale while it goes on, and afterwards."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

import torch
from comfy_api.latest import io
from PIL import Image
from torch import Tensor

from ..span_arch.engine.progress import progress_bar
from . import _host

_SIDE = 512
"""Pixels of the longer side of a preview."""

_DIM = 0.25
"""Brightness of what is still to come."""

_PAUSE = 0.5
"""Seconds between two previews."""


class Seen:
    """The host's bar, with the picture as it grows; the log's, with frames per second and the time left; and a line when all is done.

    Args:
        node: the one that runs.
        frames: how many there will be, or about as many.
    """

    def __init__(self, node: type[io.ComfyNode], frames: int) -> None:
        self._node, self._frames = node, frames
        self._move = _host.progress()
        self._logged = contextlib.ExitStack()
        self._preview: Callable[[float], Image.Image | None] = lambda share: None
        self._last = time.monotonic()
        self.ui: dict[str, Any] = {}

    def __enter__(self) -> Seen:
        self._log = self._logged.enter_context(progress_bar(self._frames, desc=self._node.define_schema().display_name))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._logged.close()

    def growing(self, image: Tensor) -> Callable[[Sequence[int]], Tensor]:
        """What makes the tensor for the result of an image, (B, H, W, C), and looks at it while it fills."""

        def allocate(shape: Sequence[int]) -> Tensor:
            result = _host.empty_image(shape)
            self._preview = _Growing(image, result).picture
            return result

        return allocate

    def passing(self, frames: Iterator[Tensor]) -> Iterator[Tensor]:
        """Passes frames, (H, W, C), on, of which the last one is looked at."""
        for frame in frames:
            pixels = _sampled(frame[None])[0]
            self._preview = lambda share, pixels=pixels: _picture(pixels)
            yield frame

    def progress(self, done: int, total: int) -> None:
        """Raises the host's own exception if its user has asked to stop."""
        self._log(done, total)
        now, preview = time.monotonic(), None
        if now - self._last > _PAUSE:
            self._last, preview = now, self._preview(done / max(total, 1))
        self._move(done, total, preview)

    def report(self, *reports: object) -> None:
        """Shows what was done on the node."""
        self.ui = _host.shown(" ".join(map(str, reports)), self._node)


class _Growing:
    """A look at a result: of one image, how far it is; of a batch, the last one that is done.

    What is looked at are single pixels a step apart. Where one image is made, those show the image itself at first, dimly, so that it can
    be seen which of them have been overwritten since.
    """

    def __init__(self, image: Tensor, result: Tensor) -> None:
        self._pixels = _sampled(result)
        if len(image) == 1 and image.shape[-1] >= self._pixels.shape[-1]:
            _, height, width, channels = self._pixels.shape
            rows, columns = (torch.arange(count) * side // count for count, side in ((height, image.shape[1]), (width, image.shape[2])))
            self._pixels.copy_(image[:, rows][:, :, columns][..., :channels] * _DIM)

    def picture(self, share: float) -> Image.Image | None:
        """How it looks when a share of it is done."""
        count = len(self._pixels)
        if count == 1:
            return _picture(self._pixels[0])
        done = int(share * count)
        return _picture(self._pixels[done - 1]) if done else None


def _sampled(images: Tensor) -> Tensor:
    """Some pixels of (B, H, W, C): a view."""
    step = max(1, max(images.shape[1:3]) // _SIDE)
    return images[:, ::step, ::step, :3]


def _picture(pixels: Tensor) -> Image.Image:
    levels = pixels.float().nan_to_num(0).clamp(0, 1).mul(255).byte().cpu().numpy()
    return Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)
