"""Conversion between PyAV's frames and tensors."""

from __future__ import annotations

import re

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._av import av
from .colour import UNKNOWN, Colour, resolve, to_image, to_planes
from .pixel_formats import Layout, planar

_PACKED = re.compile(r"(?P<order>[rgba0]{3,4})(24)?")
"""RGB of 8 bits in one plane. It is read in place, because older FFmpegs do not convert it exactly where there is alpha."""


def layout_of(frame: av.VideoFrame) -> Layout:
    """Return the layout in which `image_of` reads a frame. Raise VideoError as `planar` does."""
    return planar(frame.format)


def colour_of(frame: av.VideoFrame, layout: Layout, context: av.VideoCodecContext) -> Colour:
    """Return the colour encoding of a frame from its own tags, else its decoder's, as `resolve` does."""
    matrix = frame.colorspace if frame.colorspace != UNKNOWN else context.colorspace
    tags = matrix, frame.color_range or context.color_range, context.color_primaries, context.color_trc
    return resolve(layout, *map(int, tags), width=frame.width, height=frame.height)


def image_of(frame: av.VideoFrame, layout: Layout, colour: Colour) -> Tensor:
    """Return a frame as an RGB or RGBA image, (H, W, C), float32, as `to_image` does."""
    if frame.format.name != layout.name and not _PACKED.fullmatch(frame.format.name):
        frame = frame.reformat(format=layout.name)
    return to_image([torch.from_numpy(plane.astype(np.float32)) for plane in _planes(frame, layout)], layout, colour)


def frame_of(image: Tensor, layout: Layout, colour: Colour, pixel_format: str) -> av.VideoFrame:
    """Return an image as a frame; the inverse of `image_of`."""
    height, width = image.shape[:2]
    frame = av.VideoFrame(width, height, pixel_format if _PACKED.fullmatch(pixel_format) else layout.name)
    dtype = torch.uint8 if layout.depth == 8 else torch.int32
    for view, plane in zip(_planes(frame, layout), to_planes(image, layout, colour), strict=True):
        view[:] = plane.to(dtype).cpu().numpy()
    if pixel_format != frame.format.name:
        frame = frame.reformat(format=pixel_format)
    frame.colorspace, frame.color_range = colour.matrix, 2 if colour.full else 1
    if hasattr(frame, "color_primaries"):  # PyAV 14 leaves these to the encoder
        frame.color_primaries, frame.color_trc = colour.primaries, colour.transfer
    return frame


def _planes(frame: av.VideoFrame, layout: Layout) -> list[NDArray[np.unsignedinteger]]:
    """Return views of the samples of each channel, without the bytes that pad the rows."""
    if packed := _PACKED.fullmatch(frame.format.name):
        order = packed["order"]
        samples = np.frombuffer(memoryview(frame.planes[0]), "u1").reshape(frame.height, -1)[:, : frame.width * len(order)]
        pixels = samples.reshape(frame.height, frame.width, len(order))
        return [pixels[:, :, order.index(channel)] for channel in "gbra"[: layout.planes]]
    views: list[NDArray[np.unsignedinteger]] = []
    for index in range(layout.planes):
        height, width = layout.size(index, frame.height, frame.width)
        samples = np.frombuffer(memoryview(frame.planes[index]), "u1" if layout.depth == 8 else "<u2")
        views.append(samples.reshape(height, -1)[:, :width])
    return views
