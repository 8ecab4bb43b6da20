"""Pixels with 16 bits per channel, decoded and encoded by imagecodecs because Pillow has no mode for them.

Pillow still recognises the files, and reads and writes their metadata.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL import TiffImagePlugin as tiff
from PIL.PngImagePlugin import getchunks, putchunk

from .._util.extras import require_extra

_DIRECTORIES = (34665, 34853)
"""Tags that hold a directory of their own: EXIF and GPS."""
_PNG_HEADER = 33
"""Bytes of a PNG before its second chunk."""


def is_deep(file: Image.Image) -> bool:
    """Return whether Pillow would reduce 16 bits per channel of a file, not loaded yet, to 8, or drop its transparency."""
    if file.format == "TIFF":
        return file.mode in ("RGB", "RGBA") and _tags(file).get(tiff.BITSPERSAMPLE, (1,))[0] == 16
    if file.format == "PNG":
        rawmode: str = file.tile[0][3]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]
        return ";16" in rawmode and (file.mode not in ("I;16", "I") or "transparency" in file.info)
    return False


def read_deep(path: Path, file: Image.Image) -> NDArray[np.uint16]:
    """Return the levels, (H, W, C) with C 3 or 4, of a file that `is_deep`.

    Raises:
        MissingExtraError: imagecodecs is not installed.
        ValueError: the file is damaged.
    """
    codecs = require_extra("imagecodecs", f"to read the 16 bits per channel of {path}")
    try:
        levels = (codecs.png_decode if file.format == "PNG" else codecs.tiff_decode)(path.read_bytes())
    except RuntimeError as error:  # the base class of the errors of imagecodecs
        raise ValueError(str(error)) from error
    if file.format == "TIFF":
        return _tiff_levels(levels, file)
    if levels.ndim == 3 and levels.shape[-1] > 2:
        return levels
    return levels.reshape(*levels.shape[:2], -1)[..., [0, 0, 0, -1]]  # grey and alpha


def write_deep(file: io.BufferedRandom, levels: NDArray[np.uint16], format: str, options: dict[str, Any]) -> None:
    """Write levels, (H, W, C) with C 3 or 4, as PNG or TIFF, with the options that Pillow's ``save`` takes for the format.

    Raises:
        MissingExtraError: imagecodecs is not installed.
    """
    (_write_png if format == "PNG" else _write_tiff)(file, levels, options)


def _tiff_levels(levels: NDArray[np.uint16], file: Image.Image) -> NDArray[np.uint16]:
    if _tags(file).get(tiff.PLANAR_CONFIGURATION) == 2:  # one plane after the other
        levels = np.moveaxis(levels, 0, -1)
    levels = levels[..., : len(file.getbands())]  # drops a fourth channel of unknown meaning
    if levels.shape[-1] == 4 and _tags(file).get(tiff.EXTRASAMPLES) == (1,):  # premultiplied
        alpha = np.maximum(levels[..., 3:], 1).astype(np.uint32)
        colours = np.minimum((levels[..., :3].astype(np.uint32) * 65535 + alpha // 2) // alpha, 65535)
        levels = np.concatenate([colours.astype(np.uint16), levels[..., 3:]], axis=-1)
    return levels


def _tags(file: Image.Image) -> Any:
    return file.tag_v2  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]


def _write_png(file: io.BufferedRandom, levels: NDArray[np.uint16], options: dict[str, Any]) -> None:
    codecs = require_extra("imagecodecs", "to write 16 bits per channel")
    pixels = memoryview(codecs.png_encode(np.ascontiguousarray(levels)))
    file.write(pixels[:_PNG_HEADER])
    for name, data, _ in getchunks(Image.new("RGB", (1, 1)), **options):  # the metadata
        if name not in (b"IHDR", b"IDAT", b"IEND"):
            putchunk(file, name, data)
    file.write(pixels[_PNG_HEADER:])


def _write_tiff(file: io.BufferedRandom, levels: NDArray[np.uint16], options: dict[str, Any]) -> None:
    """Write a directory with Pillow, then all rows as one uncompressed strip."""
    height, width, channels = levels.shape
    directory = tiff.ImageFileDirectory_v2()
    exif: Image.Exif = options.get("exif", Image.Exif())
    for tag in exif:
        directory[tag] = exif.get_ifd(tag) if tag in _DIRECTORIES else exif[tag]
    if dpi := options.get("dpi"):
        directory[tiff.RESOLUTION_UNIT], directory[tiff.X_RESOLUTION], directory[tiff.Y_RESOLUTION] = 2, *dpi
    if profile := options.get("icc_profile"):
        directory[tiff.ICCPROFILE] = profile
    directory[tiff.IMAGEWIDTH], directory[tiff.IMAGELENGTH] = width, height
    directory[tiff.BITSPERSAMPLE], directory[tiff.SAMPLESPERPIXEL] = (16,) * channels, channels
    directory[tiff.COMPRESSION], directory[tiff.PHOTOMETRIC_INTERPRETATION] = 1, 2
    directory[tiff.ROWSPERSTRIP], directory[tiff.STRIPBYTECOUNTS] = height, levels.nbytes
    directory[tiff.STRIPOFFSETS] = 0  # counted from the end of the directory
    if channels == 4:
        directory[tiff.EXTRASAMPLES] = 2
    directory.save(file)
    file.write(np.ascontiguousarray(levels, dtype="<u2").data)
