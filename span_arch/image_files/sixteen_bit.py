"""Colour with 16 bits a channel, for which Pillow has no mode.

Files are told apart, and what they say beside their pixels is read and written, by Pillow all the same.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import getchunks, putchunk
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from .._util.extras import require_extra

_BITS, _COMPRESSION, _PHOTOMETRIC, _OFFSETS, _SAMPLES, _ROWS, _COUNTS = 258, 259, 262, 273, 277, 278, 279
_WIDTH, _HEIGHT, _UNIT, _ACROSS, _DOWN, _EXTRA, _PROFILE = 256, 257, 296, 282, 283, 338, 34675
_GROUPS = (34665, 34853)
_AFTER_HEADER = 33
"""Where the second chunk of a PNG begins."""


def is_deep(file: Image.Image) -> bool:
    """Has this file, not loaded yet, 16 bits a channel that Pillow would make 8, or 16-bit grey that it would make opaque?"""
    if file.format == "TIFF":
        return file.mode in ("RGB", "RGBA") and _tags(file).get(_BITS, (1,))[0] == 16
    if file.format == "PNG":
        rawmode: str = file.tile[0][3]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]
        return ";16" in rawmode and (file.mode not in ("I;16", "I") or "transparency" in file.info)
    return False


def read_deep(path: Path, file: Image.Image) -> NDArray[np.uint16]:
    """(H, W, C) levels of a file that `is_deep`; C is 3 or 4.

    Raises:
        MissingExtraError: imagecodecs is not installed.
        ValueError: the file is damaged.
    """
    codecs = require_extra("imagecodecs", f"To read the 16 bits a channel of '{path}'")
    try:
        levels = (codecs.png_decode if file.format == "PNG" else codecs.tiff_decode)(path.read_bytes())
    except RuntimeError as error:  # the root of the errors of imagecodecs
        raise ValueError(str(error)) from error
    if file.format == "TIFF":
        return _of_tiff(levels, file)
    if levels.ndim == 3 and levels.shape[-1] > 2:
        return levels
    return levels.reshape(*levels.shape[:2], -1)[..., [0, 0, 0, -1]]  # grey and alpha


def write_deep(file: io.BufferedRandom, levels: NDArray[np.uint16], container: str, settings: dict[str, Any]) -> None:
    """Writes (H, W, C) levels, C 3 or 4, with the settings that Pillow's ``save`` takes for the container, PNG or TIFF.

    Raises:
        MissingExtraError: imagecodecs is not installed.
    """
    (_write_png if container == "PNG" else _write_tiff)(file, levels, settings)


def _of_tiff(levels: NDArray[np.uint16], file: Image.Image) -> NDArray[np.uint16]:
    if _tags(file).get(284) == 2:  # one plane after the other
        levels = np.moveaxis(levels, 0, -1)
    levels = levels[..., : len(file.getbands())]  # a fourth channel of no known meaning is left out
    if levels.shape[-1] == 4 and _tags(file).get(_EXTRA) == (1,):  # colours are premultiplied
        alpha = np.maximum(levels[..., 3:], 1).astype(np.uint32)
        colours = np.minimum((levels[..., :3].astype(np.uint32) * 65535 + alpha // 2) // alpha, 65535)
        levels = np.concatenate([colours.astype(np.uint16), levels[..., 3:]], axis=-1)
    return levels


def _tags(file: Image.Image) -> Any:
    return file.tag_v2  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]


def _write_png(file: io.BufferedRandom, levels: NDArray[np.uint16], settings: dict[str, Any]) -> None:
    codecs = require_extra("imagecodecs", "To write 16 bits a channel")
    pixels = memoryview(codecs.png_encode(np.ascontiguousarray(levels)))
    file.write(pixels[:_AFTER_HEADER])
    for name, data, _ in getchunks(Image.new("RGB", (1, 1)), **settings):  # what Pillow writes beside the pixels
        if name not in (b"IHDR", b"IDAT", b"IEND"):
            putchunk(file, name, data)
    file.write(pixels[_AFTER_HEADER:])


def _write_tiff(file: io.BufferedRandom, levels: NDArray[np.uint16], settings: dict[str, Any]) -> None:
    """One strip, as it is, after a directory by Pillow."""
    height, width, channels = levels.shape
    directory = ImageFileDirectory_v2()
    exif: Image.Exif = settings.get("exif", Image.Exif())
    for tag in exif:
        directory[tag] = exif.get_ifd(tag) if tag in _GROUPS else exif[tag]
    if dpi := settings.get("dpi"):
        directory[_UNIT], directory[_ACROSS], directory[_DOWN] = 2, *dpi
    if profile := settings.get("icc_profile"):
        directory[_PROFILE] = profile
    directory[_WIDTH], directory[_HEIGHT] = width, height
    directory[_BITS], directory[_SAMPLES] = (16,) * channels, channels
    directory[_COMPRESSION], directory[_PHOTOMETRIC] = 1, 2
    directory[_ROWS], directory[_COUNTS] = height, levels.nbytes
    directory[_OFFSETS] = 0  # counted from the end of the directory
    if channels == 4:
        directory[_EXTRA] = 2
    directory.save(file)
    file.write(np.ascontiguousarray(levels, dtype="<u2").data)
