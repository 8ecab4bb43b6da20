"""Temporary video files made of frames in memory, for consumers that only read files."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._av import av
from .colour import RGB, Colour
from .frames import frame_of
from .pixel_formats import parse

_PIXEL_FORMAT = "gbrp16le"
"""Finer than any encoder of a result."""

_SRGB = Colour(RGB, full=True, primaries=1, transfer=13)

_CHANNEL_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
"""FFmpeg's names, by the number of channels."""


def compose(path: Path, images: Iterable[Tensor], rate: Fraction, audio: Tensor | None = None, sample_rate: int = 48000) -> None:
    """Write frames to a large temporary file, losslessly up to 16 bits.

    Args:
        path: a .nut file, because that container stores any rate exactly.
        images: each (H, W, C) in 0..1, where C is 1, 3 or 4. Alpha is not written.
        rate: frames per second.
        audio: (channels, samples), cut to the length of the frames and written as AAC. Unless there are 1, 2 or 6 channels, they are mixed
            to one.
        sample_rate: samples of audio per second.

    Raises:
        MissingExtraError: PyAV is not installed.
        OSError: the file cannot be written.
    """
    layout = parse(_PIXEL_FORMAT)
    assert layout is not None
    container = av.open(str(path), mode="w", format="nut")
    with container:
        stream = container.add_stream("ffv1", rate=rate, options={"level": "3"})
        track = None if audio is None else _AudioTrack(container, audio, sample_rate)
        for number, image in enumerate(images):
            height, width = image.shape[:2]
            if not number:
                stream.width, stream.height, stream.pix_fmt = width, height, _PIXEL_FORMAT
            frame = frame_of(image[..., :3].float().expand(height, width, 3), layout, _SRGB, _PIXEL_FORMAT)
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
            if track is not None:
                track.write_until((number + 1) / rate)
        container.mux(stream.encode(None))
        if track is not None:
            track.close()


class _AudioTrack:
    """Audio that is written in step with the frames, because readers want both at about the same time."""

    def __init__(self, container: av.container.OutputContainer, audio: Tensor, sample_rate: int) -> None:
        audio = audio if audio.shape[0] in _CHANNEL_LAYOUTS else audio.mean(0, keepdim=True)
        self._samples: NDArray[np.float32] = audio.to("cpu", torch.float32).contiguous().numpy()
        self._container, self._rate, self._written = container, sample_rate, 0
        self._stream = container.add_stream("aac", rate=sample_rate, layout=_CHANNEL_LAYOUTS[audio.shape[0]])

    def write_until(self, second: Fraction) -> None:
        samples = np.ascontiguousarray(self._samples[:, self._written : math.ceil(second * self._rate)])
        if samples.shape[1]:
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=self._stream.layout.name)
            frame.sample_rate, frame.pts, frame.time_base = self._rate, self._written, Fraction(1, self._rate)
            self._container.mux(self._stream.encode(frame))
            self._written += samples.shape[1]

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
