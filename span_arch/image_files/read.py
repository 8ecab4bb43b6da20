"""Files to image tensors."""

from __future__ import annotations

import errno
import io
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError
from torch import Tensor

from ..errors import ImageError
from .contents import Animation, Frame, ImageHeader, StillImage
from .formats import extensions
from .image_metadata import read_info
from .sixteen_bit import is_deep, read_deep

_ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")
"""Formats whose further images follow in time; those of others are pages, previews or other views, and the first is the picture."""


def read_image(path: Path) -> StillImage:
    """Reads a picture of any format that Pillow knows, turned the way its camera says it is to be seen; of an animation, its first frame.

    Raises:
        ImageError, MissingExtraError: as `read_images`.
    """
    with _opened(path) as file, _quiet():
        return _still(path, file)


def read_images(path: Path) -> Animation:
    """Reads a picture, still or animated, of any format that Pillow knows, turned the way its camera says it is to be seen.

    16 bits a channel stay 16 bits; CMYK and Lab become sRGB; palettes, YCbCr and the like RGB; transparency in any form becomes an
    alpha channel. Floating-point numbers are taken as they are, 0 for black and 1 for white. The frames of an animation, of 8 bits, are
    read as they are asked for, one at a time, and can be asked for again.

    Raises:
        ImageError: there is no such file, it may not be read, it is no picture, a damaged one, one of more than twice
            ``PIL.Image.MAX_IMAGE_PIXELS`` pixels, which is 179 million unless that is changed, or one with numbers outside 0..1. What is
            damaged in the middle of an animation is found when its frames are.
        MissingExtraError: it has 16 bits a channel, and imagecodecs is not installed.
    """
    with _opened(path) as file, _quiet():
        indices = _indices(file)
        if len(indices) > 1:
            frames = _Frames(path, _mode(file, indices), indices)
            file.seek(0)
            return Animation(frames, read_info(file, bits=8), len(indices))
        picture = _still(path, file)
        return Animation((Frame(picture.image),), picture.info)


def read_header(path: Path) -> ImageHeader:
    """What there is to know of a picture without decoding its pixels.

    Raises:
        ImageError: as `read_images`; what is damaged behind the header is not seen.
    """
    with _opened(path) as file, _quiet():
        frames, numbers = len(_indices(file)), file.mode == "F" or file.mode.startswith("I")
        deep = frames == 1 and (numbers or is_deep(file))
        grey = numbers or (file.mode in ("1", "L", "LA") and (frames == 1 or file.format != "GIF"))
        channels = 4 if file.has_transparency_data else 1 if grey else 3
        width, height = _upright_size(file)
        return ImageHeader(width, height, channels, 16 if deep else 8, frames)


@dataclass(frozen=True)
class _Frames:
    """The frames of an animated file, which is opened every time that they are asked for."""

    path: Path
    mode: str
    indices: range

    def __iter__(self) -> Iterator[Frame]:
        with _opened(self.path) as file:
            for index in self.indices:
                yield self._frame(file, index)

    def _frame(self, file: Image.Image, index: int) -> Frame:
        with _quiet():
            file.seek(index)
            levels = np.asarray(file.convert(self.mode))
            return Frame(_tensor(_turned(levels, _orientation(file)), 255), float(file.info.get("duration", 0)))


def _still(path: Path, file: Image.Image) -> StillImage:
    if is_deep(file):
        levels, top = read_deep(path, file), 65535
        orientation = _orientation(file)
    else:
        levels, top = _levels(file)
        orientation = _orientation(file)  # only now: when a TIFF is loaded, Pillow turns it
    return StillImage(_tensor(_turned(levels, orientation), top), read_info(file, bits=8 if top == 255 else 16))


@contextmanager
def _opened(path: Path) -> Generator[Image.Image]:
    """A file, loaded as far as its header; and what can be wrong with it in words."""
    extensions()
    try:
        with _quiet():
            file = Image.open(path)
        with file:
            yield file
    except UnidentifiedImageError as error:
        raise ImageError(
            f"'{path}' is no picture of a format that can be read. Expected PNG, JPEG, WebP, AVIF, GIF, TIFF or the like."
        ) from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise ImageError(
            f"'{path}' is too large to be opened safely: it has more than {limit:,} pixels. "
            "Cut it into parts, or raise PIL.Image.MAX_IMAGE_PIXELS."
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(_reason(path, error)) from error


@contextmanager
def _quiet() -> Generator[None]:
    """Without Pillow's warnings: of tags that are damaged, which are left out, and of pictures half as large as the error is raised for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _reason(path: Path, error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOENT:
        return f"There is no file '{path}'. Check the name and the folder."
    if number == errno.ENAMETOOLONG:
        return f"There is no file '{path}': its name is longer than names can be."
    if path.is_dir():
        return f"'{path}' is a folder; expected a picture."
    if number in (errno.EACCES, errno.EPERM):
        return f"'{path}' may not be read. Change its permissions."
    return f"'{path}' cannot be read as a picture: {error}. It is damaged, or a download broke off."


def _indices(file: Image.Image) -> range:
    """The images of a file that follow in time; if there is only one, it is the picture."""
    count: int = getattr(file, "n_frames", 1) if file.format in _ANIMATED else 1
    first = 1 if file.format == "PNG" and file.info.get("default_image") else 0  # it is for programs that know no animations
    return range(first, count) if count - first > 1 else range(1)


def _mode(file: Image.Image, indices: range) -> str:
    """The mode that all frames are read in, so that they have one shape."""
    for index in indices:  # an alpha channel is often there for nothing, or for what does not change from frame to frame
        file.seek(index)
        if file.has_transparency_data and file.convert("RGBA").getchannel("A").getextrema()[0] != 255:
            return "RGBA"
    return "L" if file.mode in ("1", "L") and file.format != "GIF" else "RGB"


def _levels(image: Image.Image) -> tuple[NDArray[Any], float]:
    """(H, W) or (H, W, C) levels, and the one of white."""
    if image.mode == "F":
        return _checked(np.asarray(image), 1)
    if image.mode.startswith("I"):
        bits = _tag(image, 258, (16,))[0]
        levels, top = _checked(np.asarray(image), 4095 if bits == 12 else 65535)
        return (top - levels if _tag(image, 262, 1) == 0 else levels), top  # white may be 0
    if image.mode in ("CMYK", "LAB"):
        return np.asarray(_to_srgb(image)), 255
    grey = image.mode in ("1", "L", "LA")
    mode = "RGBA" if image.has_transparency_data else "L" if grey else "RGB"
    return np.asarray(image if image.mode == mode else image.convert(mode)), 255


def _checked(levels: NDArray[Any], top: int) -> tuple[NDArray[Any], float]:
    darkest, brightest = levels.min(), levels.max()
    if not (darkest >= 0 and brightest <= top):  # NaN is neither
        raise ValueError(f"it has values from {darkest} to {brightest}, expected were 0 to {top}")
    return levels, top


def _tag(image: Image.Image, tag: int, default: Any) -> Any:
    return getattr(image, "tag_v2", {}).get(tag, default)


def _to_srgb(image: Image.Image) -> Image.Image:
    """By the profile of a picture in CMYK, if it has one that makes sense; Lab needs none."""
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
    """Width and height, by the header alone: to find an orientation behind the pixels of a PNG, Pillow would decode them."""
    if file.format == "PNG" and "exif" not in file.info:
        return file.size
    width, height = (_tag(file, tag, side) for tag, side in zip((256, 257), file.size, strict=True))  # Pillow turns the size of TIFFs
    return (height, width) if _orientation(file) in (5, 6, 7, 8) else (width, height)


def _turned(levels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Upright, of levels whose first row and column are what the EXIF tag says; it is a view of them."""
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
