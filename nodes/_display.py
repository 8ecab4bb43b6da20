"""The progress of an upscale as the user sees it, and its report."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator
from typing import Any

from comfy_api.latest import io
from PIL import Image

from ..span_arch import Context, Progress
from ..span_arch.engine.progress import ProgressListener, progress_bar
from ..span_arch.models.build import Model
from . import _host

_PAUSE = 0.5
"""Seconds between two previews."""


class Display:
    """A display of a run: progress in the host's bar, with a preview, and in the log; and the report on the node.

    Args:
        node: the running node.
        log: shows progress in the log.
    """

    def __init__(self, node: type[io.ComfyNode], log: ProgressListener) -> None:
        self._node, self._log = node, log
        self._move = _host.progress()
        self._last = time.monotonic()
        self.ui: dict[str, Any] = {}

    @classmethod
    @contextlib.contextmanager
    def open(cls, node: type[io.ComfyNode], frames: int | None) -> Generator[Display]:
        """Open the display of a node that upscales that many frames, or about as many; None if the number is unknown."""
        with progress_bar(frames, desc=node.define_schema().display_name) as log:
            yield cls(node, log)

    def context(self, model: Model) -> Context:
        """Return the host's device, memory and images for a model, with this display."""
        return Context(_host.device_of(model), _host.room_for(model), self.progress, self.report, _host.empty_image)

    def progress(self, progress: Progress) -> None:
        """Show progress. Raise the host's own exception if the user has cancelled the run."""
        self._log(progress)
        now, preview = time.monotonic(), None
        if now - self._last > _PAUSE:
            self._last, pixels = now, progress.preview()
            if pixels is not None:
                levels = pixels.mul(255).byte().numpy()
                preview = Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)
        self._move(progress.done, preview)

    def report(self, *reports: object) -> None:
        """Show reports as text on the node."""
        self.ui = _host.show_text(" ".join(map(str, reports)), self._node)
