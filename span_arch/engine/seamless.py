"""Seamless textures: images whose opposite edges match, before and after upscaling.

The image is surrounded with copies of itself, as wide as the network sees, and the result is cropped. Its edges then look as
in the middle of a wall of such tiles. This is exact for networks with a known receptive field. If a network works on a grid coarser
than pixels, it is exact for images whose sides are a multiple of that grid.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..image_ops.choices import Seamless
from ..image_ops.sizes import Pair
from ..image_ops.wrapping import crop, wrap
from ..models.build import Model
from .prepared_plan import receptive_field_of
from .report import Method, Recovered
from .runner import Frame, Runner, canvas

_GENEROUS = 64
"""Pixels for networks whose reach is unknown: enough in practice, and a multiple of the windows of transformers."""


def margins(model: Model, seamless: Seamless) -> Pair:
    """Return the margins to add around an image for a network: rows above and below, and columns on either side."""
    if not seamless:
        return 0, 0
    field = receptive_field_of(model)
    margin = _GENEROUS if field is None else field.radius  # a multiple of the network's grid
    return margin * ("y" in seamless), margin * ("x" in seamless)


class Wrapped:
    """A runner that surrounds frames with copies of themselves: some rows above and below, and some columns on either side."""

    def __init__(self, runner: Runner, rows: int, columns: int, scale: int) -> None:
        self._runner, self._rows, self._columns, self._scale = runner, rows, columns, scale
        self.group = runner.group

    @property
    def method(self) -> Method:
        """The method of the larger frames."""
        return self._runner.method

    @property
    def recovered(self) -> Recovered:
        """The failures so far."""
        return self._runner.recovered

    def run(self, frames: Iterable[Frame]) -> None:
        """Upscale frames."""
        frames = list(frames)
        rows, columns = self._rows * self._scale, self._columns * self._scale
        larger: list[Frame] = []
        for frame in frames:
            channels, height, width = frame.result.shape
            result = canvas((channels, height + 2 * rows, width + 2 * columns), frame.result.device)
            larger.append(Frame(wrap(frame.planes, self._rows, self._columns), result, frame.join))
        self._runner.run(larger)
        for frame, large in zip(frames, larger, strict=True):
            frame.result.copy_(crop(large.result, rows, columns))
