"""The contents of image files: pixels, metadata and headers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class ImageInfo:
    """The metadata of an image file. All of it still holds after the image is turned upright and enlarged."""

    bits: int = 8
    """Bits per channel, 8 or 16. Formats that hold no more than 8 are written with 8."""
    icc_profile: bytes | None = None
    """The colour space of the decoded image, so never one of CMYK."""
    exif: bytes | None = None
    """A TIFF directory after ``Exif\\0\\0``, without thumbnail, with orientation 1."""
    xmp: bytes | None = None
    """A packet of XML."""
    dpi: tuple[float, float] | None = None
    """Pixels per inch, horizontal and vertical. They do not change, so that an enlarged image prints larger."""
    text: dict[str, str] = field(default_factory=dict[str, str])
    """The texts of a PNG by keyword, including ComfyUI's ``prompt`` and ``workflow``."""
    comment: bytes | None = None
    """The comment of a JPEG or a GIF."""
    plays: int = 0
    """How often an animation plays; 0 is for ever."""


@dataclass(frozen=True)
class ImageHeader:
    """The properties of an image that its header gives."""

    width: int
    """In pixels, of the upright image."""
    height: int
    channels: int
    """1, 3 or 4, as the image is read. An animation with an alpha channel counts 4 even if all its frames are opaque."""
    bits: int
    """Bits per channel, 8 or 16."""
    frames: int


@dataclass(frozen=True)
class StillImage:
    """An image with its metadata."""

    image: Tensor
    """(1, H, W, C), float32, 0..1; C is 1 (grey), 3 (RGB) or 4 (RGBA, not premultiplied)."""
    info: ImageInfo = field(default_factory=ImageInfo)


@dataclass(frozen=True)
class AnimationFrame:
    """One image of an animation."""

    image: Tensor
    """As in `StillImage`. All frames of an animation have the same shape."""
    duration: float = 0
    """How long the frame is shown, in milliseconds."""


@dataclass(frozen=True)
class Animation:
    """A sequence of frames with its metadata. A still image has one frame."""

    frames: Iterable[AnimationFrame]
    """Whole images. Partial frames of a file are already composed."""
    info: ImageInfo = field(default_factory=ImageInfo)
    count: int = 1
    """The number of frames."""
