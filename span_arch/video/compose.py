"""A video file of frames that are in memory, for what reads files only."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._av import pyav
from .colour import RGB, Colour
from .frames import frame_of
from .pixel_formats import parse

_PIXELS = "gbrp16le"
"""Finer than what any encoder of a result keeps."""

_COLOUR = Colour(RGB, full=True, primaries=1, transfer=13)
"""Of sRGB."""

_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
"""What FFmpeg calls so many channels of sound."""


def compose(path: Path, images: Iterable[Tensor], rate: Fraction, sound: Tensor | None = None, sample_rate: int = 48000) -> None:
    """Writes frames without a loss (to 16 bits), for the time being: the file is large.

    Args:
        path: of a .nut file, which takes any rate exactly.
        images: each (H, W, C) in 0..1, where C is 1, 3 or 4; of alpha nothing is written.
        rate: frames per second.
        sound: (channels, samples), of which as many are written as the frames last, as AAC. Other than 1, 2 or 6 channels are mixed to one.
        sample_rate: of the sound, in hertz.

    Raises:
        MissingExtraError: PyAV is not installed.
        OSError: the file cannot be written.
    """
    layout = parse(_PIXELS)
    assert layout is not None
    with pyav().open(str(path), mode="w", format="nut") as container:
        stream = container.add_stream("ffv1", rate=rate, options={"level": "3"})
        voice = None if sound is None else _Voice(container, sound, sample_rate)
        for number, image in enumerate(images):
            height, width = image.shape[:2]
            if not number:
                stream.width, stream.height, stream.pix_fmt = width, height, _PIXELS
            frame = frame_of(image[..., :3].float().expand(height, width, 3), layout, _COLOUR, _PIXELS)
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
            if voice is not None:
                voice.write_until((number + 1) / rate)
        container.mux(stream.encode(None))
        if voice is not None:
            voice.close()


class _Voice:
    """Sound that is written along with the frames: those who read the file want both at about the same time."""

    def __init__(self, container: Any, sound: Tensor, sample_rate: int) -> None:
        sound = sound if sound.shape[0] in _LAYOUTS else sound.mean(0, keepdim=True)
        self._samples: NDArray[np.float32] = sound.to("cpu", torch.float32).contiguous().numpy()
        self._container, self._rate, self._written = container, sample_rate, 0
        self._stream = container.add_stream("aac", rate=sample_rate, layout=_LAYOUTS[sound.shape[0]])

    def write_until(self, second: Fraction) -> None:
        samples = np.ascontiguousarray(self._samples[:, self._written : math.ceil(second * self._rate)])
        if samples.shape[1]:
            frame = pyav().AudioFrame.from_ndarray(samples, format="fltp", layout=self._stream.layout.name)
            frame.sample_rate, frame.pts, frame.time_base = self._rate, self._written, Fraction(1, self._rate)
            self._container.mux(self._stream.encode(frame))
            self._written += samples.shape[1]

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
