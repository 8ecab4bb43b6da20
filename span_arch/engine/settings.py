"""The settings of an upscale. Importing this costs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from .._util.text import join_words
from ..errors import OptionError
from ..image_ops.choices import Alpha, Filter, Seamless, check_alpha, check_filter, check_seamless
from ..image_ops.sizes import Size

Precision = Literal["auto", "float32", "float16", "bfloat16"]
PRECISIONS: tuple[str, ...] = get_args(Precision)


@dataclass(frozen=True)
class Settings:
    """The user's choices for an upscale, independent of the images.

    Raises:
        OptionError: ``tile`` is below 1, or another setting is not among its choices.
    """

    size: Size | None = None
    """The size of the result (see `span_arch.sizes`). The network runs as often as that needs, and a filter does the rest. None: the
    size of the image times the scale of the model."""
    filter: Filter = "lanczos"
    """The filter that resizes the result of the network to the size: ``"lanczos"``, ``"bicubic"`` or ``"area"``."""
    tile: int | None = None
    """The side of a tile without its halo, in pixels of the network's input. None: strips where the network allows them, else tiles, as
    large as is fast and fits into memory."""
    precision: Precision = "auto"
    """The type of the arithmetic (see `precision`)."""
    alpha: Alpha = "resize"
    """How to handle the alpha channel of an RGBA image: ``"resize"`` it by a bicubic filter, run it through the ``"model"`` as a grey
    image, or compose the image over a colour, three numbers in 0..1 for R, G and B, which gives an RGB result. Networks for RGBA upscale
    alpha themselves in the first two cases. In these, visible colours are bled into transparent pixels first (see `transparency`)."""
    seamless: Seamless = ""
    """The axes along which the image repeats itself: ``"x"``, ``"y"`` or ``"xy"`` (see `seamless`)."""
    ensemble: bool = False
    """If True, take the mean over eight orientations, for eight times the work (see `ensemble`)."""
    compiled: bool = False
    """If True, compile the network with ``torch.compile``, for tiles of one size. The first run then takes longer. Without a compiler, the
    network runs uncompiled."""

    def __post_init__(self) -> None:
        if self.tile is not None and self.tile < 1:
            raise OptionError(f"The tile size {self.tile} is too small. Choose at least 1 pixel, or leave it out for the best size.")
        check_filter(self.filter)
        check_precision(self.precision)
        check_alpha(self.alpha)
        check_seamless(self.seamless)


def check_precision(precision: str) -> None:
    """Raise an OptionError unless the name is one of `PRECISIONS`."""
    if precision not in PRECISIONS:
        raise OptionError(f"The precision '{precision}' is unknown. Choose {join_words(PRECISIONS)}.")
