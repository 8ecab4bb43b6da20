"""Picture files to image tensors and back, with all that the files say beside their pixels.

Pillow does the formats, and imagecodecs 16 bits of colour, which Pillow has no mode for. A still picture is an animation of one frame, so
that whoever takes any picture needs one path for all of them.
"""

from .containers import check_fits, check_format
from .contents import Animation, Frame, Glance, Info, Picture
from .read import glance, read_picture, read_pictures
from .write import write_picture, write_pictures

__all__ = [
    "Animation",
    "Frame",
    "Glance",
    "Info",
    "Picture",
    "check_fits",
    "check_format",
    "glance",
    "read_picture",
    "read_pictures",
    "write_picture",
    "write_pictures",
]
