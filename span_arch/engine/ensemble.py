"""Best quality: the self-ensemble, eight times the work for a few hundredths of a decibel to a tenth and more.

A network does not treat an image and its mirror image alike. So the image is shown to it in all of its eight orientations, every
result is turned back, and their mean is the result (R. Timofte, R. Rothe, L. Van Gool: Seven ways to improve example-based single
image super resolution, CVPR 2016; the "+" of many papers).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from torch import Tensor

from .._util import memory
from .runner import Frame, Worker

ORIENTATIONS = tuple(product((False, True), ((), (-1,), (-2,), (-2, -1))))
"""Whether rows become columns, and which axes are mirrored then."""


class Ensemble:
    """Runs frames in all of their orientations and takes the mean, in float32, of what comes out, which is in 0..1.

    Args:
        upright: upscales frames as they are.
        turned: upscales frames whose rows have become columns.
    """

    def __init__(self, upright: Worker, turned: Worker) -> None:
        self._workers = {False: upright, True: turned}
        self.group = upright.group

    @property
    def method(self) -> str:
        """How it goes about it, in a few words."""
        return f"the mean of eight, {self._workers[False].method}"

    @property
    def redone(self) -> tuple[str, ...]:
        """What had to be redone so far, a sentence for each kind."""
        return tuple(sentence for worker in self._workers.values() for sentence in worker.redone)

    def run(self, frames: Iterable[Frame]) -> None:
        """Upscales frames."""
        frames = list(frames)
        totals, parts = ([_like(frame.result) for frame in frames] for _ in range(2))
        for total in totals:
            total.zero_()
        for turned, mirrored in ORIENTATIONS:
            results = [_turned(part) if turned else part for part in parts]
            planes = [(frame.planes.mT if turned else frame.planes).flip(mirrored) for frame in frames]
            self._workers[turned].run(
                Frame(plane, result, frame.join) for plane, result, frame in zip(planes, results, frames, strict=True)
            )
            for total, result in zip(totals, results, strict=True):
                back = result.flip(mirrored)
                total += back.mT if turned else back
        for frame, total in zip(frames, totals, strict=True):
            frame.result.copy_(total.div_(len(ORIENTATIONS)))


def _like(result: Tensor) -> Tensor:
    """(C, H, W), with channels last in memory."""
    channels, height, width = result.shape
    return memory.empty((height, width, channels), result.device).movedim(-1, 0)


def _turned(canvas: Tensor) -> Tensor:
    """The memory of (C, H, W), channels last, for (C, W, H)."""
    channels, height, width = canvas.shape
    return canvas.movedim(0, -1).view(width, height, channels).movedim(-1, 0)
