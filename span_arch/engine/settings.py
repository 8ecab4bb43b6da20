"""What can be asked of an upscale."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import OptionError
from ..image_ops.resize import Filter, check_filter
from ..image_ops.sizes import Size
from ..image_ops.transparency import Alpha, check_alpha
from ..image_ops.wrap import Seamless, check_seamless
from .precision import Precision, check_precision


@dataclass(frozen=True)
class Settings:
    """What can be asked of an upscale, whatever its images.

    Raises:
        OptionError: ``tile`` is below 1, or another setting is none of those that are listed.
    """

    size: Size | None = None
    """Of the result (see `sizes`). The network is run as often as that takes, and a filter does the rest. None: the image times the
    model's scale."""
    filter: Filter = "lanczos"
    """``"lanczos"``, ``"bicubic"`` or ``"area"`` (see `resize`), for what the network does not do."""
    tile: int | None = None
    """The side of a tile's core in pixels of what the network is shown. None: strips or tiles as large as memory allows, and on a CPU
    as is fastest."""
    precision: Precision = "auto"
    """The type of the arithmetic (see `precision`)."""
    alpha: Alpha = "resize"
    """What becomes of the alpha of an RGBA image: ``"resize"`` (by a bicubic filter), ``"model"`` (upscaled as a grey image), or a
    colour, R, G and B in 0..1, over which the image is composed before; the result is RGB then. Networks of RGBA upscale alpha
    themselves in the first two cases. These bleed colour under transparent edges; see `transparency`."""
    seamless: Seamless = ""
    """The axes along which the image repeats itself, ``"x"``, ``"y"`` or ``"xy"``; see `seamless`."""
    ensemble: bool = False
    """The mean of eight orientations, for eight times the work; see `ensemble`."""
    compiled: bool = False
    """Whether to compile the network with ``torch.compile`` for tiles of one size. That takes its time once; where there is no
    compiler, it makes no difference."""

    def __post_init__(self) -> None:
        if self.tile is not None and self.tile < 1:
            raise OptionError(f"A tile of {self.tile} pixels was asked for; expected at least 1, or none for the best size.")
        check_filter(self.filter)
        check_precision(self.precision)
        check_alpha(self.alpha)
        check_seamless(self.seamless)
