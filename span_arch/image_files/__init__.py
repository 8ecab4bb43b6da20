"""Picture files to image tensors and back, with all that the files say beside their pixels.

Pillow does the formats, and imagecodecs 16 bits of colour, which Pillow has no mode for. A still picture is an animation of one frame, so
that whoever takes any picture needs one path for all of them.
"""

from .contents import Animation, Frame, ImageHeader, ImageInfo, StillImage
from .formats import check_fits, check_format
from .read import read_header, read_image, read_images
from .write import write_image, write_images

__all__ = [
    "Animation",
    "Frame",
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
