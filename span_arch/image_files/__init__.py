"""Image files to tensors and back, with their metadata.

Pillow reads and writes the formats, and imagecodecs 16-bit colour, for which Pillow has no mode. A still image is an animation of one
frame, so callers that accept any image need one path only.
"""

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
