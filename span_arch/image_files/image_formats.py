"""The image formats that can be written, and their limits."""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..errors import MissingExtraError, OptionError, OutputError

_AVIF = (".avif", ".avifs")


@dataclass(frozen=True)
class ImageFormat:
    """An image format. The defaults are for formats that are not listed here."""

    name: str
    """Pillow's name for it."""
    alpha: bool = True
    """True if it holds an alpha channel."""
    animated: bool = False
    """True if it holds more than one frame."""
    deep: bool = False
    """True if it holds 16 bits per channel."""
    longest: int | None = None
    """The most pixels per side."""


_FORMATS = {
    image_format.name: image_format
    for image_format in (
        ImageFormat("PNG", animated=True, deep=True),
        ImageFormat("TIFF", deep=True),
        ImageFormat("WEBP", animated=True, longest=16383),
        ImageFormat("AVIF", animated=True, longest=65536),
        ImageFormat("GIF", animated=True, longest=65535),
        ImageFormat("JPEG", alpha=False, longest=65500),
        ImageFormat("BMP", alpha=False),
    )
}


def find_format(path: Path, format: str | None = None) -> ImageFormat:
    """Return the format with the name ``format``, or else with the suffix of ``path``.

    Raises:
        OptionError: ``format`` is not an image format that can be written.
        OutputError: the suffix is not that of an image format.
        MissingExtraError: it is AVIF, and Pillow is too old for it.
    """
    suffix = path.suffix.lower() if format is None else f".{format.lower().removeprefix('.')}"
    name = extensions().get(suffix, "")
    if name in Image.SAVE:
        return _FORMATS.get(name, ImageFormat(name))
    if suffix in _AVIF:
        raise MissingExtraError(
            f"{path} cannot be written because this version of Pillow does not support AVIF. Pillow 11.3 does: pip install --upgrade "
            "pillow. For an older version: pip install pillow-avif-plugin"
        )
    if format is not None:
        raise OptionError(f"'{format}' is not an image format. Use png, jpg, webp, avif, gif or tiff.")
    raise OutputError(f"{path} ends in '{path.suffix}', which is not an image format. Use .png, .jpg, .webp, .avif, .gif or .tiff.")


def extensions() -> dict[str, str]:
    """Return Pillow's formats by suffix, including AVIF if Pillow or its plugin supports it."""
    known = Image.registered_extensions()
    if ".avif" not in known:
        with contextlib.suppress(ImportError):
            importlib.import_module("pillow_avif")  # registers itself
    return known


def check_format(path: Path, format: str | None = None) -> None:
    """Raise an error if images cannot be written in the format ``format``, or else in that of the suffix of ``path``.

    Raises:
        OptionError, OutputError, MissingExtraError: as `find_format`.
    """
    find_format(path, format)


def check_fits(path: Path, *, width: int, height: int, channels: int, frames: int = 1, format: str | None = None) -> None:
    """Raise an error, before the work starts, if the format obviously cannot hold such an image.

    Args:
        path: the file to write.
        width: of the image, in pixels.
        height: of the image, in pixels.
        channels: 1, 3 or 4.
        frames: the number of frames.
        format: the format, if the suffix does not give it.

    Raises:
        OptionError, OutputError, MissingExtraError: as `find_format`, or the format holds no alpha channel, no animation or not that size.
    """
    target = find_format(path, format)
    if channels == 4 and not target.alpha:
        raise OutputError(
            f"{path} cannot hold the transparency of the image. Write a .png, .webp or .tiff file instead, or compose the image over a "
            "colour (--alpha on the command line)."
        )
    if frames > 1 and not target.animated:
        raise OutputError(f"{path} cannot hold the {frames} frames of an animation. Write a .gif, .webp, .png or .avif file instead.")
    if target.longest is not None and max(width, height) > target.longest:
        raise OutputError(
            f"{path} cannot hold {width}x{height} pixels. The limit of {target.name} is {target.longest} per side. Write a .png or "
            ".tiff file instead."
        )
