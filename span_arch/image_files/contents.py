"""What a picture file holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class ImageInfo:
    """What a file says beside its pixels. All of it is true of a picture upright, and of one that was enlarged."""

    bits: int = 8
    """Bits a channel, 8 or 16; a format that holds no more than 8 is given 8."""
    icc_profile: bytes | None = None
    """The colour space, of the image as it is here: never one of CMYK."""
    exif: bytes | None = None
    """A TIFF directory after ``Exif\\0\\0``, without thumbnail, orientation 1."""
    xmp: bytes | None = None
    """A packet of XML."""
    dpi: tuple[float, float] | None = None
    """Pixels an inch, across and down. It stays as it is, so that the enlarged picture prints larger."""
    text: dict[str, str] = field(default_factory=dict[str, str])
    """The texts of a PNG by keyword, ComfyUI's ``prompt`` and ``workflow`` among them."""
    comment: bytes | None = None
    """The comment of a JPEG or a GIF."""
    plays: int = 0
    """How often an animation is shown; 0 is for ever."""


@dataclass(frozen=True)
class ImageHeader:
    """What the header of a picture file tells."""

    width: int
    """Upright, in pixels."""
    height: int
    channels: int
    """1, 3 or 4, as it is read; of an animation 4 also where its transparency hides nothing in the end."""
    bits: int
    """Bits a channel, 8 or 16."""
    frames: int


@dataclass(frozen=True)
class StillImage:
    """One image."""

    image: Tensor
    """(1, H, W, C), float32, 0..1; C is 1 (grey), 3 (RGB) or 4 (RGBA, not premultiplied)."""
    info: ImageInfo = field(default_factory=ImageInfo)


@dataclass(frozen=True)
class Frame:
    """One image of an animation."""

    image: Tensor
    """As that of a `Picture`; all frames of an animation have one shape."""
    duration: float = 0
    """How long it is shown, in milliseconds."""


@dataclass(frozen=True)
class Animation:
    """Images shown one after the other, or a still picture: one alone."""

    frames: Iterable[Frame]
    """Whole images: what a file stores as changes, and how they are disposed of, is composed."""
    info: ImageInfo = field(default_factory=ImageInfo)
    count: int = 1
    """The number of frames."""
