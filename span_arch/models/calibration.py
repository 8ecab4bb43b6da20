"""Measure the activation limits of a network (see `archs.bounds`).

Limits are the ranges of the channels on a few calibration images (scripts/make_calibration_images.py), widened a little. On the benchmark
images Set5 and Set14, networks with such limits agree with unbounded ones to 50 dB or better. Wider ones would let features grow on
patterns of one pixel until float32 and bfloat16 no longer agree.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from ..archs.bounds import Bound, Limits, bounds_of

_SHEET = Path(__file__).with_name("calibration.png")
_SIDE = 48
"""Side of a calibration image: a multiple of every factor that a network may unshuffle by."""
_WIDENING = 2.0
"""Widths of limits, as a multiple of the measured ranges."""


def calibrate(network: nn.Module, channels: int) -> Limits | None:
    """Return the limits of an unbounded network for images with a number of channels; None if its values overflow.

    SPAN with 48 channels takes about 0.2 s on two cores.
    """
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def watch(path: str, bound: Bound) -> torch.utils.hooks.RemovableHandle:
        def record(_module: nn.Module, _inputs: object, values: Tensor) -> None:
            found[path] = values.amin((0, 2, 3)), values.amax((0, 2, 3))

        return bound.register_forward_hook(record)

    handles = [watch(path, bound) for path, bound in bounds_of(network).items()]
    try:
        with torch.no_grad():
            network(calibration_images(channels))
    finally:
        for handle in handles:
            handle.remove()
    if not all(bool(side.isfinite().all()) for sides in found.values() for side in sides):
        return None
    return {path: _widened(low, high) for path, (low, high) in found.items()}


def calibration_images(channels: int = 3) -> Tensor:
    """Return the calibration images, (14, channels, 48, 48) in 0..1. One channel is grey, and the fourth is alpha."""
    colours = _colours()
    alpha = torch.linspace(0, 1, _SIDE).expand(len(colours), 1, _SIDE, _SIDE)
    return torch.cat([colours, alpha], 1)[:, :channels] if channels != 1 else colours.mean(1, keepdim=True)


@cache
def _colours() -> Tensor:
    sheet: Image.Image = Image.open(_SHEET)
    with sheet:
        columns, rows = (side // _SIDE for side in sheet.size)
        levels = torch.frombuffer(bytearray(sheet.tobytes()), dtype=torch.uint8)
    return levels.view(rows, _SIDE, columns, _SIDE, 3).permute(0, 2, 4, 1, 3).reshape(-1, 3, _SIDE, _SIDE) / 255


def _widened(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    middle, reach = (high + low) / 2, (high - low) / 2 * _WIDENING
    return _rounded(middle - reach), _rounded(middle + reach)


def _rounded(values: Tensor) -> Tensor:
    """Round to four digits, which are short in a file and the same on every machine."""
    return torch.tensor([float(f"{float(value):.4g}") for value in values])
