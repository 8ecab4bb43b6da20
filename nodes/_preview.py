"""The progress of an upscale as the user sees it, and its report."""

from __future__ import annotations

import contextlib
import time
from types import TracebackType
from typing import Any

from comfy_api.latest import io
from PIL import Image

from ..span_arch.engine.progress import Progress, progress_bar
from . import _host

_PAUSE = 0.5
"""Seconds between two previews."""


class Display:
    """Shows progress in the host's bar, with a preview, and in the log; and the report on the node.

    Args:
        node: the one that runs.
        frames: how many there will be, or about as many; None if that is unknown.
    """

    def __init__(self, node: type[io.ComfyNode], frames: int | None) -> None:
        self._node, self._frames = node, frames
        self._move = _host.progress()
        self._resources = contextlib.ExitStack()
        self._last = time.monotonic()
        self.ui: dict[str, Any] = {}

    def __enter__(self) -> Display:
        self._log = self._resources.enter_context(progress_bar(self._frames, desc=self._node.define_schema().display_name))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._resources.close()

    def progress(self, progress: Progress) -> None:
        """Show progress. Raise the host's own exception if the user has asked to stop."""
        self._log(progress)
        now, preview = time.monotonic(), None
        if now - self._last > _PAUSE:
            self._last, pixels = now, progress.preview()
            if pixels is not None:
                levels = pixels.mul(255).byte().numpy()
                preview = Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)
        self._move(progress.done, preview)

    def report(self, *reports: object) -> None:
        """Show what was done on the node."""
        self.ui = _host.shown(" ".join(map(str, reports)), self._node)
