"""What is asked of an upscale, as options."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from .. import errors
from ..engine.settings import Settings
from ..image_ops import sizes
from ..image_ops.resize import FILTERS
from ..image_ops.transparency import Alpha
from .model_options import add_ensemble, add_precision


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Size, arithmetic, transparency and the like."""
    _add_size(parser)
    add_precision(parser)
    parser.add_argument("--tile", type=_positive, metavar="N", help="side of a tile in pixels of the picture (default: the best)")
    parser.add_argument(
        "--compile", action="store_true", help="compile the network with torch.compile first, which is meant for long work on a GPU"
    )
    parser.add_argument(
        "--alpha",
        type=_alpha,
        default="resize",
        metavar="HOW",
        help="what becomes of transparency: resize, model (upscaled by the model), or a colour to compose the picture over, as 255,255,255 "
        "(default: resize)",
    )
    parser.add_argument(
        "--seamless", choices=("x", "y", "xy"), default="", help="a texture that repeats itself: keep opposite edges fitting each other"
    )
    add_ensemble(parser)


def settings(options: argparse.Namespace) -> Settings:
    """The settings that are asked for.

    Raises:
        OptionError: they make no sense.
    """
    return Settings(
        size=_size(options),
        filter=options.filter,
        tile=options.tile,
        precision=options.precision,
        alpha=options.alpha,
        seamless=options.seamless,
        ensemble=options.ensemble,
        compiled=options.compile,
    )


def _add_size(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "size of OUTPUT",
        "At most one; without, the size of the picture times the model's scale. The model is run as often as it takes, and a filter does "
        "the rest.",
    )
    group.add_argument("--scale", type=float, metavar="X", help="so many times as large as the picture: 1.5, 2, 3.7")
    group.add_argument("--size", type=_width_and_height, metavar="WxH", help="a width and a height in pixels: 1920x1080")
    group.add_argument("--longest", type=int, metavar="N", help="length of the longest side in pixels")
    group.add_argument("--shortest", type=int, metavar="N", help="length of the shortest side in pixels")
    group.add_argument("--megapixels", type=float, metavar="M", help="millions of pixels in all")
    group.add_argument(
        "--fit",
        choices=sizes.FITS,
        help="how a picture of other proportions meets --size: 'stretch' changes them (default), 'fit' makes it as large as goes in, "
        "'fill' covers the size and cuts off what is over",
    )
    group.add_argument("--filter", choices=FILTERS, default="lanczos", help="what resizes (default: lanczos)")


def _size(options: argparse.Namespace) -> sizes.Size | None:
    """The size that is asked for."""

    def exact(size: tuple[int, int]) -> sizes.Exact:
        return sizes.Exact(*size, fit=options.fit or "stretch")

    kinds: dict[str, Callable[[Any], sizes.Size]] = {
        "scale": sizes.Factor,
        "size": exact,
        "longest": sizes.Longest,
        "shortest": sizes.Shortest,
        "megapixels": sizes.Megapixels,
    }
    asked = [name for name in kinds if getattr(options, name) is not None]
    if len(asked) > 1:
        raise errors.OptionError(f"Sizes are asked for by --{' and --'.join(asked)}; give only one of them.")
    if options.fit and asked != ["size"]:
        raise errors.OptionError(
            f"--fit {options.fit} tells how a picture meets --size, which is absent; give --size WxH, or leave --fit out."
        )
    return kinds[asked[0]](getattr(options, asked[0])) if asked else None


def _width_and_height(text: str) -> tuple[int, int]:
    try:
        width, height = map(int, text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no size; expected a width and a height in pixels, such as 1920x1080") from None
    return width, height


def _alpha(text: str) -> Alpha:
    if text == "resize" or text == "model":
        return text
    levels = [int(level) if level.strip().isdecimal() else -1 for level in text.split(",")]
    if len(levels) != 3 or not all(0 <= level <= 255 for level in levels):
        raise argparse.ArgumentTypeError(f"'{text}' is neither resize nor model, nor a colour of three levels such as 255,255,255")
    red, green, blue = (level / 255 for level in levels)
    return red, green, blue


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value
