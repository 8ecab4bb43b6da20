"""Between the frames of PyAV and tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._av import pyav
from .colour import UNKNOWN, Colour, resolve, to_image, to_planes
from .layout import Layout, planar


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
    if frame.format.name != layout.name:
        frame = frame.reformat(format=layout.name)
    planes = [torch.from_numpy(_view(frame, layout, plane).astype(np.float32)) for plane in range(layout.planes)]
    return to_image(planes, layout, colour)


def frame_of(image: Tensor, layout: Layout, colour: Colour, pixel_format: str) -> Any:
    """The inverse of `image_of`.

    Args:
        image: (H, W, 3) or (H, W, 4), of floating point, on any device.
        layout: of the planes.
        colour: what the numbers are to mean.
        pixel_format: what the encoder calls the layout, or another that holds the same numbers.
    """
    height, width = image.shape[:2]
    frame = pyav().VideoFrame(width, height, layout.name)
    _fill(frame, to_planes(image, layout, colour), layout)
    if pixel_format != layout.name:
        frame = frame.reformat(format=pixel_format)
    frame.colorspace, frame.color_range = colour.matrix, 2 if colour.full else 1
    return frame


def _fill(frame: Any, planes: Sequence[Tensor], layout: Layout) -> None:
    for index, plane in enumerate(planes):
        view = _view(frame, layout, index)
        view[:] = plane.to(torch.uint8 if layout.depth == 8 else torch.int32).cpu().numpy().astype(view.dtype, copy=False)


def _view(frame: Any, layout: Layout, index: int) -> np.ndarray[Any, np.dtype[Any]]:
    """The samples of a plane, where they are, without the bytes that pad its rows."""
    height, width = layout.size(index, frame.height, frame.width)
    plane = frame.planes[index]
    samples = np.frombuffer(plane, np.dtype("u1" if layout.depth == 8 else "<u2"))
    return samples.reshape(height, -1)[:, :width]
