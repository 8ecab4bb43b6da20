"""Read image files as tensors."""

from __future__ import annotations

import errno
import io
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError
from PIL import TiffImagePlugin as tiff
from torch import Tensor

from .._util.process import ignored_warnings
from ..errors import ImageError
from .image_formats import extensions
from .image_metadata import read_info
from .image_types import Animation, AnimationFrame, ImageHeader, StillImage
from .sixteen_bit import is_deep, read_deep

_ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
"""Formats whose images are frames of an animation. In others they are pages or previews, and only the first is read."""


def read_image(path: Path) -> StillImage:
    """Read an image in any format that Pillow supports, turned upright. An animation gives its first frame.

    Raises:
        ImageError, MissingExtraError: as `read_images`.
    """
    with _opened(path) as file, ignored_warnings():
        return _read_still(path, file)


def read_images(path: Path) -> Animation:
    """Read an image, still or animated, in any format that Pillow supports, turned upright.

    16 bits per channel stay 16 bits. CMYK and Lab become sRGB, and palettes, YCbCr and the like become RGB. Transparency in any form
    becomes an alpha channel. In floating-point images, 0 is black and 1 is white. The frames of an animation have 8 bits. They are read
    one at a time during iteration, which can be repeated.

    Raises:
        ImageError: the file does not exist, is not readable, is not an image, is damaged, has values outside 0..1, or has more than twice
            ``PIL.Image.MAX_IMAGE_PIXELS`` pixels (179 million by default). Damage within an animation is found during iteration.
        MissingExtraError: it has 16 bits per channel, and imagecodecs is not installed.
    """
    with _opened(path) as file, ignored_warnings():
        indices = _indices(file)
        if len(indices) > 1:
            frames = _Frames(path, _mode(file, indices), indices)
            file.seek(0)
            return Animation(frames, read_info(file, bits=8), len(indices))
        still = _read_still(path, file)
        return Animation((AnimationFrame(still.image),), still.info)


def read_header(path: Path) -> ImageHeader:
    """Read the header of an image without decoding its pixels.

    Raises:
        ImageError: as `read_images`. Damage after the header is not noticed.
    """
    with _opened(path) as file, ignored_warnings():
        frames, numeric = len(_indices(file)), file.mode == "F" or file.mode.startswith("I")
        deep = frames == 1 and (numeric or is_deep(file))
        grey = numeric or (file.mode in ("1", "L", "LA") and (frames == 1 or file.format != "GIF"))
        channels = 4 if file.has_transparency_data else 1 if grey else 3
        width, height = _upright_size(file)
        return ImageHeader(width, height, channels, 16 if deep else 8, frames)


@dataclass(frozen=True)
class _Frames:
    """The frames of an animated file, which is opened for every iteration."""

    path: Path
    mode: str
    indices: range

    def __iter__(self) -> Iterator[AnimationFrame]:
        with _opened(self.path) as file:
            for index in self.indices:
                yield self._frame(file, index)

    def _frame(self, file: Image.Image, index: int) -> AnimationFrame:
        with ignored_warnings():
            file.seek(index)
            levels = np.asarray(file.convert(self.mode))
            return AnimationFrame(_tensor(_upright(levels, _orientation(file)), 255), float(file.info.get("duration", 0)))


def _read_still(path: Path, file: Image.Image) -> StillImage:
    if is_deep(file):
        levels, top = read_deep(path, file), 65535
        orientation = _orientation(file)
    else:
        levels, top = _levels(file)
        orientation = _orientation(file)  # after loading, because Pillow turns a TIFF as it loads it
    return StillImage(_tensor(_upright(levels, orientation), top), read_info(file, bits=8 if top == 255 else 16))


@contextmanager
def _opened(path: Path) -> Generator[Image.Image]:
    """Open a file and read its header. Raise an ImageError for any fault of the file, then and within the block."""
    extensions()
    try:
        with ignored_warnings():  # of damaged tags, which Pillow skips, and of images half as large as the limit
            file = Image.open(path)
        with file:
            yield file
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{path} is not an image, or its format is not supported. Expected PNG, JPEG, WebP, AVIF, GIF, TIFF or similar."
        ) from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise ImageError(
            f"{path} has more than {limit:,} pixels, too many to open it safely. Cut it into parts, or raise PIL.Image.MAX_IMAGE_PIXELS."
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(_reason(path, error)) from error


def _reason(path: Path, error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOENT:
        return f"There is no file {path}. Check the name and the folder."
    if number == errno.ENAMETOOLONG:
        return f"There is no file {path}. Its name is longer than the system allows."
    if path.is_dir():
        return f"{path} is a folder. Give the name of an image file."
    if number in (errno.EACCES, errno.EPERM):
        return f"{path} cannot be read: permission denied. Change its permissions."
    return f"{path} cannot be read as an image: {error}. It may be damaged or incomplete. Download or copy it again."


def _indices(file: Image.Image) -> range:
    """Return the indices of the frames of an animation, or of the first image of any other file."""
    count: int = getattr(file, "n_frames", 1) if file.format in _ANIMATED else 1
    first = 1 if file.format == "PNG" and file.info.get("default_image") else 0  # a substitute for programs without animation
    return range(first, count) if count - first > 1 else range(1)


def _mode(file: Image.Image, indices: range) -> str:
    """Return the mode in which all frames are read, so that they have the same shape."""
    for index in indices:  # many alpha channels are opaque, or only mark the pixels that a frame does not change
        file.seek(index)
        if file.has_transparency_data and file.convert("RGBA").getchannel("A").getextrema()[0] != 255:
            return "RGBA"
    return "L" if file.mode in ("1", "L") and file.format != "GIF" else "RGB"


def _levels(image: Image.Image) -> tuple[NDArray[Any], float]:
    """Return the levels, (H, W) or (H, W, C), and the level of white."""
    if image.mode == "F":
        return _checked(np.asarray(image), 1)
    if image.mode.startswith("I"):
        bits = _tag(image, tiff.BITSPERSAMPLE, (16,))[0]
        levels, top = _checked(np.asarray(image), 4095 if bits == 12 else 65535)
        return (top - levels if _tag(image, tiff.PHOTOMETRIC_INTERPRETATION, 1) == 0 else levels), top  # 0: white is 0
    if image.mode in ("CMYK", "LAB"):
        return np.asarray(_to_srgb(image)), 255
    grey = image.mode in ("1", "L", "LA")
    mode = "RGBA" if image.has_transparency_data else "L" if grey else "RGB"
    return np.asarray(image if image.mode == mode else image.convert(mode)), 255


def _checked(levels: NDArray[Any], top: int) -> tuple[NDArray[Any], float]:
    darkest, brightest = levels.min(), levels.max()
    if not (darkest >= 0 and brightest <= top):  # false for NaN
        raise ValueError(f"its values range from {darkest} to {brightest} instead of 0 to {top}")
    return levels, top


def _tag(image: Image.Image, tag: int, default: Any) -> Any:
    return getattr(image, "tag_v2", {}).get(tag, default)


def _to_srgb(image: Image.Image) -> Image.Image:
    """Convert CMYK with the profile of the image if it has a valid one, and Lab without."""
    profile: bytes | None = image.info.get("icc_profile")
    if image.mode == "LAB" or not profile:
        return image.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))  # pyright: ignore[reportUnknownArgumentType]
        return ImageCms.profileToProfile(image, source, srgb, outputMode="RGB") or image
    except (OSError, ImageCms.PyCMSError):
        return image.convert("RGB")


def _orientation(file: Image.Image) -> int:
    return file.getexif().get(ExifTags.Base.Orientation, 1)


def _upright_size(file: Image.Image) -> tuple[int, int]:
    """Return the width and height of the upright image. An orientation after the pixels of a PNG is ignored: finding it decodes them."""
    if file.format == "PNG" and "exif" not in file.info:
        return file.size
    # Pillow has already turned the size of a TIFF, but not its tags.
    width, height = (_tag(file, tag, side) for tag, side in zip((tiff.IMAGEWIDTH, tiff.IMAGELENGTH), file.size, strict=True))
    return (height, width) if _orientation(file) in (5, 6, 7, 8) else (width, height)


def _upright(levels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return a view of levels that is upright, for an EXIF orientation."""
    if orientation in (5, 6, 7, 8):
        levels = np.swapaxes(levels, 0, 1)
    if orientation in (3, 4, 7, 8):
        levels = np.flipud(levels)
    if orientation in (2, 3, 6, 7):
        levels = np.fliplr(levels)
    return levels


def _tensor(levels: NDArray[Any], top: float) -> Tensor:
    image = np.divide(levels, np.float32(top), dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray(image).reshape(1, *levels.shape[:2], -1))
