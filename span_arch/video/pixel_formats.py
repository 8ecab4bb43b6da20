"""Pixel formats, and the planes of samples that they consist of."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import VideoError
from ._av import av

_NAME = re.compile(r"(?:yuv(?P<a>a|j)?(?P<sampling>\d{3})p|gbr(?P<b>a)?p|(?P<grey>gray))(?:(?P<depth>\d+)le)?")

_SAMPLINGS = {"444": (0, 0), "422": (1, 0), "420": (1, 1), "440": (0, 1), "411": (2, 0), "410": (2, 2)}
"""The chroma shifts of each subsampling scheme."""

_DEPTHS = (8, 9, 10, 12, 14, 16)


@dataclass(frozen=True)
class Layout:
    """A pixel format with one plane for each channel, in FFmpeg's order: YUV, GBR or grey, then alpha."""

    name: str
    """FFmpeg's name, such as ``yuv420p10le``."""
    family: str
    """``yuv``, ``rgb`` or ``grey``."""
    depth: int
    """Bits of a sample."""
    chroma_shifts: tuple[int, int] = (0, 0)
    """How often chroma is halved in width and in height."""
    alpha: bool = False

    @property
    def planes(self) -> int:
        """The number of planes."""
        return (1 if self.family == "grey" else 3) + self.alpha

    def size(self, plane: int, height: int, width: int) -> tuple[int, int]:
        """Return height and width of a plane of a frame of this size."""
        if self.family != "yuv" or plane not in (1, 2):
            return height, width
        across, down = self.chroma_shifts
        return -(-height >> down), -(-width >> across)


def parse(name: str) -> Layout | None:
    """Return the layout of a pixel format; None if `Layout` cannot describe it."""
    match = _NAME.fullmatch(name)
    if match is None or (sampling := match["sampling"] or "444") not in _SAMPLINGS:
        return None
    family = "grey" if match["grey"] else "yuv" if match["sampling"] else "rgb"
    return Layout(name, family, int(match["depth"] or 8), _SAMPLINGS[sampling], "a" in (match["a"], match["b"]))


def planar(pixel_format: av.VideoFormat) -> Layout:
    """Return the layout that results when the channels of a pixel format are separated and nothing else changes.

    Raise VideoError for floating-point samples, a Bayer mosaic and other colour models.
    """
    name = pixel_format.name
    if (layout := parse(name)) is not None:
        return layout
    channels, bits = len(pixel_format.components), max((part.bits for part in pixel_format.components), default=0)
    if not 1 <= bits <= 16 or pixel_format.is_bayer or name.startswith("xyz"):
        raise VideoError(
            f"The pixel format {name} of the video is not supported. Expected YUV, RGB or grey with 1 to 16 bits. Convert the video first."
        )
    depth = next(depth for depth in _DEPTHS if depth >= bits)
    end = "" if depth == 8 else f"{depth}le"
    alpha = "a" if channels in (2, 4) or pixel_format.has_palette else ""
    shifts = (4 - pixel_format.chroma_width(16).bit_length() + 1, 4 - pixel_format.chroma_height(16).bit_length() + 1)
    if pixel_format.is_rgb or pixel_format.has_palette or channels == 2:
        planar_name = f"gbr{alpha}p{end}"
    elif channels == 1:
        planar_name = f"gray{end}"
    else:
        planar_name = f"yuv{alpha}{next(digits for digits, known in _SAMPLINGS.items() if known == shifts)}p{end}"
    layout = parse(planar_name)
    assert layout is not None
    return layout


def closest(wanted: Layout, offered: Iterable[Layout]) -> Layout:
    """Return the offered layout that keeps most of another and, among equals, wastes least."""

    def cost(layout: Layout) -> tuple[int, ...]:
        sampling = (9, 9) if wanted.family == "grey" else wanted.chroma_shifts
        shifts = [theirs - ours for theirs, ours in zip(layout.chroma_shifts, sampling, strict=True)]
        depth = wanted.depth - layout.depth
        return (
            wanted.alpha and not layout.alpha,
            wanted.family != "grey" and layout.family == "grey",
            sum(max(0, shift) for shift in shifts),
            max(0, depth),
            wanted.family != layout.family,
            layout.alpha and not wanted.alpha,
            layout.family == "rgb",
            sum(max(0, -shift) for shift in shifts),
            max(0, -depth),
        )

    return min(offered, key=cost)
