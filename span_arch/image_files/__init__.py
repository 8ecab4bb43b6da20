"""Image files to tensors and back, with their metadata.

Pillow reads and writes the formats, and imagecodecs 16-bit colour, for which Pillow has no mode. A still image is an animation of one
frame, so callers that accept any image need one path only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._util.lazy import lazy_names

if TYPE_CHECKING:
    from .image_formats import check_fits, check_format
    from .image_reader import read_header, read_image, read_images
    from .image_types import Animation, AnimationFrame, ImageHeader, ImageInfo, StillImage
    from .image_writer import write_image, write_images

__all__ = [
    "Animation",
    "AnimationFrame",
    "ImageHeader",
    "ImageInfo",
    "StillImage",
    "check_fits",
    "check_format",
    "read_header",
    "read_image",
    "read_images",
    "write_image",
    "write_images",
]

__getattr__ = lazy_names(
    __name__,
    {
        ".image_formats": ("check_fits", "check_format"),
        ".image_reader": ("read_header", "read_image", "read_images"),
        ".image_types": ("Animation", "AnimationFrame", "ImageHeader", "ImageInfo", "StillImage"),
        ".image_writer": ("write_image", "write_images"),
    },
)
