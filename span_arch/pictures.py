"""Picture files to image tensors and back, by way of Pillow."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from .errors import ImageError, OutputError
from .files import replacing

_GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_WITHOUT_ALPHA = (".jpg", ".jpeg", ".bmp")
_KEPT = ("icc_profile", "dpi")


@dataclass(frozen=True)
class Picture:
    """An image, and what its file says of how to show it."""

    image: Tensor
    """(1, H, W, C), float32, 0..1; C is 1 (grey), 3 (RGB) or 4 (RGBA)."""
    info: dict[str, Any] = field(default_factory=dict[str, Any])
    """Colour profile and resolution, as Pillow's ``save`` takes them."""


def read_picture(path: Path) -> Picture:
    """Reads a picture of any format that Pillow knows, turned the way its camera says it is to be seen.

    Raises:
        ImageError: there is no such file, or it is no picture, or a damaged one.
    """
    try:
        file = Image.open(path)
        with file:
            upright = ImageOps.exif_transpose(file)
            info: dict[str, Any] = {key: file.info[key] for key in _KEPT if key in file.info}
            return Picture(_to_tensor(upright), info)
    except FileNotFoundError as error:
        raise ImageError(f"There is no file '{path}'. Check the name and the folder.") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"'{path}' is no picture of a format that can be read. Expected PNG, JPEG, WebP, TIFF or the like.") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"'{path}' is too large to be opened safely: {error}") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(f"'{path}' cannot be read as a picture: {error}. It is damaged, or a download broke off.") from error


def write_picture(path: Path, picture: Picture, *, overwrite: bool = False) -> None:
    """Writes a picture with 8 bits a channel in the format that its suffix names, whole or not at all.

    Raises:
        OutputError: the suffix is no format that Pillow writes, the file exists, or it cannot be written.
    """
    check_format(path)
    levels = picture.image[0].mul(255).round_().to(torch.uint8).cpu().numpy()
    image = Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)
    if image.mode == "RGBA" and path.suffix.lower() in _WITHOUT_ALPHA:
        raise OutputError(
            f"'{path}' cannot hold the picture's transparency. Write a .png, .webp or .tiff file instead, or compose it over a colour with "
            "--alpha."
        )
    quality = {".jpg": {"quality": 95}, ".jpeg": {"quality": 95}, ".webp": {"lossless": True}}.get(path.suffix.lower(), {})
    with replacing(path, overwrite=overwrite) as temporary:
        image.save(temporary, **quality, **picture.info)


def check_format(path: Path) -> None:
    """Raises an error if pictures cannot be written in the format that the suffix of ``path`` names.

    Raises:
        OutputError: they cannot.
    """
    formats = Image.registered_extensions()
    if formats.get(path.suffix.lower()) not in Image.SAVE:
        raise OutputError(f"'{path}' ends in '{path.suffix}', which is no format for pictures. Use .png, .jpg, .webp or .tiff.")


def _to_tensor(image: Image.Image) -> Tensor:
    if image.mode in _GREY_16:
        levels = np.asarray(image).astype(np.float32) / 65535
    else:
        grey = image.mode in ("1", "L", "LA")
        alpha = image.has_transparency_data
        levels = np.asarray(image.convert("RGBA" if alpha else "L" if grey else "RGB")).astype(np.float32) / 255
    return torch.from_numpy(levels.reshape(1, *levels.shape[:2], -1))
