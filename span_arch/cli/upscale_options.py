"""The options that say how to upscale, and the `Settings` that they give."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from ..engine.settings import Settings
from ..errors import OptionError
from ..image_ops import sizes
from ..image_ops.choices import FILTERS, Alpha
from .model_options import add_ensemble, add_precision


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options for size, precision, tiles, alpha channel, textures and quality."""
    _add_size(parser)
    add_precision(parser)
    parser.add_argument(
        "--tile", type=_positive, metavar="N", help="upscale in tiles with sides of N pixels (default: strips or tiles of the best size)"
    )
    parser.add_argument("--compile", action="store_true", help="compile the network with torch.compile, for long runs on a GPU")
    parser.add_argument(
        "--alpha",
        type=_alpha,
        default="resize",
        metavar="HOW",
        help="how to handle the alpha channel: resize (with a filter), model (upscale it with the model), or a colour such as 255,255,255 "
        "to compose the image over (default: resize)",
    )
    parser.add_argument(
        "--seamless",
        choices=("x", "y", "xy"),
        default="",
        help="axes along which the image repeats as a texture; opposite edges of the result match",
    )
    add_ensemble(parser)


def parse_settings(options: argparse.Namespace) -> Settings:
    """Return the settings that the options select.

    Raises:
        OptionError: the options contradict each other, or a value is out of range.
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
        "size of the result",
        "Choose at most one of --scale, --size, --longest, --shortest and --megapixels. By default, the result is the size of the input "
        "times the scale of the model. For other sizes, the model runs as often as needed, and a filter resizes its result.",
    )
    group.add_argument("--scale", type=float, metavar="X", help="factor between input and result, such as 1.5, 2 or 3.7")
    group.add_argument("--size", type=_width_and_height, metavar="WxH", help="width and height in pixels, such as 1920x1080")
    group.add_argument("--longest", type=int, metavar="N", help="length of the longer side in pixels")
    group.add_argument("--shortest", type=int, metavar="N", help="length of the shorter side in pixels")
    group.add_argument("--megapixels", type=float, metavar="M", help="number of pixels in millions")
    group.add_argument(
        "--fit",
        choices=sizes.FITS,
        help="what to do with --size if the proportions differ: stretch the image (default), fit it within the size, or fill the size and "
        "crop the rest",
    )
    group.add_argument("--filter", choices=FILTERS, default="lanczos", help="filter for resizing (default: lanczos)")


def _size(options: argparse.Namespace) -> sizes.Size | None:
    kinds: dict[str, Callable[[Any], sizes.Size]] = {
        "scale": sizes.Factor,
        "size": lambda size: sizes.Exact(*size, fit=options.fit or "stretch"),
        "longest": sizes.Longest,
        "shortest": sizes.Shortest,
        "megapixels": sizes.Megapixels,
    }
    given = [name for name in kinds if getattr(options, name) is not None]
    if len(given) > 1:
        raise OptionError(f"The size is given more than once, by --{' and --'.join(given)}. Give only one of them.")
    if options.fit and given != ["size"]:
        raise OptionError(f"--fit {options.fit} needs --size, which is missing. Add --size WxH, or leave --fit out.")
    return kinds[given[0]](getattr(options, given[0])) if given else None


def _width_and_height(text: str) -> tuple[int, int]:
    try:
        width, height = map(int, text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a size; expected width and height in pixels, such as 1920x1080") from None
    return width, height


def _alpha(text: str) -> Alpha:
    if text == "resize" or text == "model":
        return text
    levels = [int(level) if level.strip().isdecimal() else -1 for level in text.split(",")]
    if len(levels) != 3 or not all(0 <= level <= 255 for level in levels):
        raise argparse.ArgumentTypeError(f"{text} is unknown; expected resize, model, or a colour from 0,0,0 to 255,255,255")
    red, green, blue = (level / 255 for level in levels)
    return red, green, blue


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is too small; expected 1 or more")
    return value
