"""Lossless conversion between the samples of a video and RGB: matrix, range and bit depth.

Transfer function and primaries are not converted. They are tags that pass from the source to the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import VideoError
from .chroma import double_columns, double_rows, halve_columns, halve_rows
from .pixel_formats import Layout

RGB, BT709, UNKNOWN, SMPTE170M = 0, 1, 2, 6
"""Code points of ITU-T H.273 for matrices. 2 also stands for unknown primaries and transfer functions."""

_WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
"""Weights of red and blue in luma, by matrix: BT.709, FCC, BT.601 (twice), SMPTE 240M and BT.2020 with non-constant luminance."""


@dataclass(frozen=True)
class Colour:
    """The colour encoding of a video, in code points of ITU-T H.273."""

    matrix: int
    full: bool
    """Full range. In limited range, black is 16 and white 235 of 8 bits."""
    primaries: int = UNKNOWN
    transfer: int = UNKNOWN


def resolve(layout: Layout, matrix: int, colour_range: int, primaries: int, transfer: int, *, width: int, height: int) -> Colour:
    """Return the colour encoding of a video from its tags, and from the usual rules where tags are missing.

    An untagged matrix is BT.709 in frames of at least 720 rows or more than 1024 columns, else BT.601. An untagged range is full in grey
    and in the formats ``yuvj...``, else limited. RGB is always full.

    Args:
        matrix, primaries, transfer: code points of H.273.
        colour_range: FFmpeg's number: 0 untagged, 1 limited, 2 full.

    Raises:
        VideoError: the matrix is unknown or not linear.
    """
    if layout.family == "rgb":
        return Colour(RGB, True, primaries, transfer)
    if matrix in (RGB, UNKNOWN):
        matrix = BT709 if height >= 720 or width > 1024 else SMPTE170M
    if matrix not in _WEIGHTS:
        raise VideoError(
            f"The colour matrix of the video, number {matrix} of ITU-T H.273, is not supported. Expected BT.601, BT.709, FCC, SMPTE 240M "
            "or BT.2020 with non-constant luminance. Convert the video first."
        )
    untagged_is_full = layout.family == "grey" or layout.name.startswith("yuvj")
    return Colour(matrix, colour_range == 2 or (colour_range != 1 and untagged_is_full), primaries, transfer)


def to_image(planes: Sequence[Tensor], layout: Layout, colour: Colour) -> Tensor:
    """Convert the planes of a frame to an RGB image, or to RGBA if there is alpha.

    Args:
        planes: samples as floating-point numbers, each of the size that `Layout.size` gives.
        layout: the layout of the planes.
        colour: their colour encoding.

    Returns:
        (H, W, C), float32, in 0..1. YUV colours outside of RGB exceed that range; they are not clamped, so that nothing is lost.
    """
    peak = 2.0**layout.depth - 1
    if layout.family == "rgb":
        channels = torch.stack((planes[2], planes[0], planes[1]), 2) / peak
    else:
        base, span, _ = _scales(layout.depth, full=colour.full)
        channels = ((planes[0] - base) / span)[:, :, None].expand(-1, -1, 3)
        if layout.family == "yuv":
            channels = _with_chroma(planes, layout, colour) @ torch.inverse(_matrix(colour.matrix)).T.to(planes[0].device, torch.float32)
    return torch.cat((channels, (planes[-1] / peak)[:, :, None]), 2) if layout.alpha else channels.contiguous()


def to_planes(image: Tensor, layout: Layout, colour: Colour) -> list[Tensor]:
    """Convert an image to planes, rounded and clamped to the range of the samples; the inverse of `to_image`.

    Args:
        image: (H, W, 3) or (H, W, 4), of a floating type, on any device. Missing alpha is opaque. Alpha is dropped if the layout has none.
        layout: the layout of the planes.
        colour: their colour encoding.

    Returns:
        Planes of integral float32 numbers, on the device of the image.
    """
    image, peak = image.float(), 2.0**layout.depth - 1
    rgb = image[:, :, :3]
    if layout.family == "rgb":
        planes = [rgb[:, :, channel] * peak for channel in (1, 2, 0)]
    else:
        yuv = (rgb @ _matrix(colour.matrix).T.to(image.device, torch.float32)).permute(2, 0, 1)
        base, span, reach = _scales(layout.depth, full=colour.full)
        planes = [yuv[0] * span + base]
        if layout.family == "yuv":
            middle = 2.0 ** (layout.depth - 1)
            planes += [_halve(plane, layout) * reach + middle for plane in yuv[1:]]
    if layout.alpha:
        planes.append(image[:, :, 3] * peak if image.shape[2] == 4 else torch.full_like(planes[0], peak))
    return [plane.round().clamp(0, peak) for plane in planes]


def _scales(depth: int, *, full: bool) -> tuple[float, float, float]:
    """Return the sample of black, the span from black to white, and the span of chroma."""
    if full:
        return 0.0, 2.0**depth - 1, 2.0**depth - 1
    unit = 2.0 ** (depth - 8)
    return 16 * unit, 219 * unit, 224 * unit


def _with_chroma(planes: Sequence[Tensor], layout: Layout, colour: Colour) -> Tensor:
    """Return (H, W, 3): luma in 0..1, and chroma in -0.5..0.5 at the resolution of luma."""
    base, span, reach = _scales(layout.depth, full=colour.full)
    height, width = planes[0].shape
    middle = 2.0 ** (layout.depth - 1)
    chroma = [_double((plane - middle) / reach, layout, height, width) for plane in planes[1:3]]
    return torch.stack(((planes[0] - base) / span, *chroma), 2)


def _double(plane: Tensor, layout: Layout, height: int, width: int) -> Tensor:
    across, down = layout.chroma_shifts
    for shift in reversed(range(across)):
        plane = double_columns(plane, -(-width >> shift))
    for shift in reversed(range(down)):
        plane = double_rows(plane, -(-height >> shift))
    return plane


def _halve(plane: Tensor, layout: Layout) -> Tensor:
    across, down = layout.chroma_shifts
    for _ in range(down):
        plane = halve_rows(plane)
    for _ in range(across):
        plane = halve_columns(plane)
    return plane


def _matrix(number: int) -> Tensor:
    """Return the matrix that converts columns of RGB in 0..1 to luma and chroma, in float64."""
    red, blue = _WEIGHTS[number]
    luma = torch.tensor((red, 1 - red - blue, blue), dtype=torch.float64)
    unit = torch.eye(3, dtype=torch.float64)
    return torch.stack((luma, (unit[2] - luma) / (2 - 2 * blue), (unit[0] - luma) / (2 - 2 * red)))
