"""What each format can hold."""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..errors import MissingExtraError, OptionError, OutputError

_AVIF = (".avif", ".avifs")


@dataclass(frozen=True)
class Container:
    """A format for pictures; unless something else is said, one of which nothing is known."""

    name: str
    """As Pillow calls it."""
    alpha: bool = True
    """Does it hold transparency?"""
    animated: bool = False
    """Does it hold more than one frame?"""
    deep: bool = False
    """Does it hold 16 bits a channel?"""
    longest: int | None = None
    """The most pixels to a side."""


_CONTAINERS = (
    Container("PNG", animated=True, deep=True),
    Container("TIFF", deep=True),
    Container("WEBP", animated=True, longest=16383),
    Container("AVIF", animated=True, longest=65536),
    Container("GIF", animated=True, longest=65535),
    Container("JPEG", alpha=False, longest=65500),
    Container("BMP", alpha=False),
)
_BY_NAME = {container.name: container for container in _CONTAINERS}


def container(path: Path, format: str | None = None) -> Container:
    """The format that ``format``, or else the suffix of ``path``, names.

    Raises:
        OptionError: ``format`` is none that pictures can be written in.
        OutputError: the suffix is none.
        MissingExtraError: it is AVIF, and Pillow is too old for it.
    """
    suffix = path.suffix.lower() if format is None else f".{format.lower().removeprefix('.')}"
    name = extensions().get(suffix, "")
    if name in Image.SAVE:
        return _BY_NAME.get(name, Container(name))
    if suffix in _AVIF:
        raise MissingExtraError(
            f"To write '{path}', Pillow 11.3 is needed: pip install --upgrade pillow. For an older one: pip install pillow-avif-plugin"
        )
    if format is not None:
        raise OptionError(f"'{format}' is no format for pictures. Use png, jpg, webp, avif, gif or tiff.")
    raise OutputError(f"'{path}' ends in '{path.suffix}', which is no format for pictures. Use .png, .jpg, .webp, .avif, .gif or .tiff.")


def extensions() -> dict[str, str]:
    """Suffixes and the formats that Pillow has for them; with AVIF, where Pillow or its plugin knows it."""
    known = Image.registered_extensions()
    if ".avif" not in known:
        with contextlib.suppress(ImportError):
            importlib.import_module("pillow_avif")  # which registers itself
    return known


def check_format(path: Path, format: str | None = None) -> None:
    """Raises an error if pictures cannot be written in the format that ``format``, or else the suffix of ``path``, names.

    Raises:
        OptionError, OutputError, MissingExtraError: they cannot.
    """
    container(path, format)


def check_fits(path: Path, *, width: int, height: int, channels: int, frames: int = 1, format: str | None = None) -> None:
    """Raises the error that writing such a picture would end in, as far as that can be known before the work is done.

    Args:
        path: the file to write.
        width: of the result, in pixels.
        height: likewise.
        channels: 1, 3 or 4.
        frames: their number.
        format: its format, if that is not as the suffix says.

    Raises:
        OptionError, OutputError, MissingExtraError: the format is none, or it holds no transparency, no animations or no such size.
    """
    target = container(path, format)
    if channels == 4 and not target.alpha:
        raise OutputError(
            f"'{path}' cannot hold the picture's transparency. Write a .png, .webp or .tiff file instead, or compose the picture over a "
            "colour (--alpha on the command line)."
        )
    if frames > 1 and not target.animated:
        raise OutputError(f"'{path}' cannot hold the {frames} frames of an animation. Write a .gif, .webp, .png or .avif file instead.")
    if target.longest is not None and max(width, height) > target.longest:
        raise OutputError(
            f"'{path}' cannot hold {width}x{height} pixels; {target.name} ends at {target.longest} a side. "
            "Write a .png or .tiff file instead."
        )
