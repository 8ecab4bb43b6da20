"""Between the frames of PyAV and tensors."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._av import pyav
from .colour import UNKNOWN, Colour, resolve, to_image, to_planes
from .pixel_formats import Layout, planar

_PACKED = re.compile(r"(?P<order>[rgba0]{3,4})(24)?")
"""RGB of 8 bits in one plane. It is read in place: with alpha, the conversions of older FFmpegs are not exact."""


def layout_of(frame: Any) -> Layout:
    """How the planes lie that `image_of` reads.

    Raises:
        VideoError: as `planar`.
    """
    return planar(frame.format)


def colour_of(frame: Any, layout: Layout, context: Any) -> Colour:
    """What the numbers of a frame mean: by its own tags, else by those of its decoder, else by the usual rules.

    Raises:
        VideoError: as `resolve`.
    """
    matrix = frame.colorspace if frame.colorspace != UNKNOWN else context.colorspace
    return resolve(
        layout,
        int(matrix),
        int(frame.color_range or context.color_range),
        int(context.color_primaries),
        int(context.color_trc),
        width=frame.width,
        height=frame.height,
    )


def image_of(frame: Any, layout: Layout, colour: Colour) -> Tensor:
    """A frame of PyAV as RGB or RGBA: (H, W, C), float32, as `to_image`."""
    if frame.format.name != layout.name and not _PACKED.fullmatch(frame.format.name):
        frame = frame.reformat(format=layout.name)
    return to_image([torch.from_numpy(plane.astype(np.float32)) for plane in _planes(frame, layout)], layout, colour)


def frame_of(image: Tensor, layout: Layout, colour: Colour, pixel_format: str) -> Any:
    """The inverse of `image_of`.

    Args:
        image: (H, W, 3) or (H, W, 4), of floating point, on any device.
        layout: of the planes.
        colour: what the numbers are to mean.
        pixel_format: what the encoder calls the layout, or another that holds the same numbers.
    """
    height, width = image.shape[:2]
    frame = pyav().VideoFrame(width, height, pixel_format if _PACKED.fullmatch(pixel_format) else layout.name)
    dtype = torch.uint8 if layout.depth == 8 else torch.int32
    for view, plane in zip(_planes(frame, layout), to_planes(image, layout, colour), strict=True):
        view[:] = plane.to(dtype).cpu().numpy()
    if pixel_format != frame.format.name:
        frame = frame.reformat(format=pixel_format)
    frame.colorspace, frame.color_range = colour.matrix, 2 if colour.full else 1
    if hasattr(frame, "color_primaries"):  # PyAV 14 leaves these to the encoder
        frame.color_primaries, frame.color_trc = colour.primaries, colour.transfer
    return frame


def _planes(frame: Any, layout: Layout) -> list[np.ndarray[Any, np.dtype[Any]]]:
    """The samples of each channel, where they are, without the bytes that pad the rows."""
    if packed := _PACKED.fullmatch(frame.format.name):
        order = packed["order"]
        samples = np.frombuffer(frame.planes[0], "u1").reshape(frame.height, -1)[:, : frame.width * len(order)]
        pixels = samples.reshape(frame.height, frame.width, len(order))
        return [pixels[:, :, order.index(channel)] for channel in "gbra"[: layout.planes]]
    views: list[np.ndarray[Any, np.dtype[Any]]] = []
    for index in range(layout.planes):
        height, width = layout.size(index, frame.height, frame.width)
        samples = np.frombuffer(frame.planes[index], "u1" if layout.depth == 8 else "<u2")
        views.append(samples.reshape(height, -1)[:, :width])
    return views
