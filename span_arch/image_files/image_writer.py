"""Write tensors as image files."""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .._util.files import replacing
from ..errors import ImageError, OptionError, OutputError
from .image_formats import ImageFormat, check_fits, find_format
from .image_metadata import save_options
from .image_types import Animation, AnimationFrame, ImageInfo, StillImage
from .sixteen_bit import write_deep

_TRANSPARENT = 255
"""The index of the transparent colour in the palette of a GIF."""


def write_image(path: Path, still: StillImage, *, format: str | None = None, quality: int | None = None, overwrite: bool = False) -> None:
    """Write a still image, as `write_images` does.

    Raises:
        OptionError, OutputError, MissingExtraError: as `write_images`.
    """
    write_images(path, Animation((AnimationFrame(still.image),), still.info), format=format, quality=quality, overwrite=overwrite)


def write_images(
    path: Path, animation: Animation, *, format: str | None = None, quality: int | None = None, overwrite: bool = False
) -> None:
    """Write an image, still or animated, whole or not at all.

    The file has 16 bits per channel if ``animation.info`` says so, the image is still, and the format is PNG or TIFF, and otherwise 8. It
    keeps the rest of ``animation.info`` as far as the format holds it. Frames are read one at a time and spooled to an unnamed temporary
    file next to ``path``, uncompressed. Pillow then encodes AVIF and WebP with one frame in memory, PNG and GIF with all of them.

    Args:
        path: the file to write.
        animation: the image to write. Its frames may be computed during iteration.
        format: ``png``, ``jpg``, ``webp``, ``avif``, ``gif``, ``tiff`` or another that Pillow writes. By default the suffix decides.
        quality: 1..100, for JPEG, WebP and AVIF. 100 makes WebP lossless. By default JPEG gets 95, WebP 100 and AVIF 90.
        overwrite: replace a file that exists.

    Raises:
        ImageError: there are no frames, or they differ in shape.
        OptionError: ``quality`` or ``format`` is invalid.
        OutputError: the suffix is not an image format, the format cannot hold such an image, the file exists, or it cannot be written.
        MissingExtraError: 16-bit colour or AVIF needs a package that is not installed or too old.
    """
    target = find_format(path, format)
    options = _compression(target.name, quality)
    frames = iter(animation.frames)
    with replacing(path, overwrite=overwrite) as temporary, _PythonFile(temporary, "wb+") as raw, io.BufferedRandom(raw) as file:
        first, second = next(frames, None), next(frames, None)
        if first is None:
            raise ImageError("The animation has no frames. Expected at least one.")
        height, width, channels = first.image.shape[1:]
        check_fits(
            path, width=width, height=height, channels=channels, frames=1 if second is None else max(animation.count, 2), format=format
        )
        options |= save_options(animation.info, target.name, width, height, channels)
        if second is None:
            with _encoding(path):
                _write_still(file, first.image, animation.info, target, options)
            return
        with tempfile.TemporaryFile(dir=path.absolute().parent) as spool:
            kind = _SpooledGIFFrames if target.name == "GIF" else _SpooledFrames
            spooled = kind(spool, chain((first, second), frames), tuple(first.image.shape))
            with _encoding(path):
                spooled.save(file, target.name, **options, **_timing(target.name, animation.info, spooled))


class _PythonFile(io.FileIO):
    """A file that makes Pillow write through Python, because its native encoders do not report a full disk."""

    def fileno(self) -> int:
        raise io.UnsupportedOperation


class _SpooledFrames(Image.Image):
    """Frames in a temporary file, as Pillow expects an animation: an image that `seek` turns into each of them."""

    def __init__(self, spool: IO[bytes], frames: Iterable[AnimationFrame], shape: tuple[int, ...]) -> None:
        super().__init__()
        self._spool, self._position = spool, 0
        self.durations: list[float] = []
        for frame in frames:
            if frame.image.shape != shape:
                raise ImageError(
                    f"Frame {len(self.durations) + 1} has the shape {tuple(frame.image.shape)}. Expected {shape}, as in the first."
                )
            spool.write(_levels(frame.image, 8).data)
            self.durations.append(frame.duration)
        _, height, width, channels = shape
        self._bytes = height * width * channels
        self.has_alpha = channels == 4
        vars(self).update(vars(Image.new({1: "L", 3: "RGB", 4: "RGBA"}[channels], (width, height))))
        self.n_frames = len(self.durations)
        self.is_animated = True
        self.seek(0)

    def seek(self, frame: int) -> None:
        if not 0 <= frame < self.n_frames:
            raise EOFError
        self._position = frame
        self._spool.seek(frame * self._bytes)
        self.frombytes(self._spool.read(self._bytes))

    def tell(self) -> int:
        return self._position


class _SpooledGIFFrames(_SpooledFrames):
    """Frames whose copies, which Pillow makes to write a GIF, have a transparent palette colour."""

    def copy(self) -> Image.Image:
        return _for_gif(super().copy())


def _for_gif(image: Image.Image) -> Image.Image:
    """Return RGBA with a palette that has one transparent colour, for alpha below a half. Other images are returned as they are."""
    if image.mode != "RGBA":
        return image
    indexed = image.convert("RGB").quantize(_TRANSPARENT)
    colours = indexed.getpalette() or []
    indexed.putpalette(colours[: 3 * _TRANSPARENT] + [0] * (3 * (_TRANSPARENT + 1) - len(colours)))
    indexed.paste(_TRANSPARENT, mask=image.getchannel("A").point([255] * 128 + [0] * 128))
    indexed.info["transparency"] = _TRANSPARENT
    return indexed


def _write_still(file: io.BufferedRandom, image: Tensor, info: ImageInfo, target: ImageFormat, options: dict[str, Any]) -> None:
    bits = 16 if info.bits == 16 and target.deep else 8
    levels = _levels(image, bits)
    if bits == 16 and levels.shape[-1] > 1:
        write_deep(file, levels, target.name, options)
    else:
        still = Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)
        (_for_gif(still) if target.name == "GIF" else still).save(file, target.name, **options)


def _levels(image: Tensor, bits: int) -> NDArray[Any]:
    """Return the levels, (H, W, C), of an image, (1, H, W, C)."""
    top = 2**bits - 1
    whole = image[0].float().mul(top).round_().clamp_(0, top)
    if bits == 8:
        return whole.to(torch.uint8).cpu().numpy()
    return whole.cpu().numpy().astype(np.uint16)


def _compression(name: str, quality: int | None) -> dict[str, Any]:
    """Return the options for Pillow's ``save`` that set the compression."""
    if quality is not None and not 1 <= quality <= 100:
        raise OptionError(f"The quality is {quality}. Expected 1 to 100.")
    if name == "JPEG":
        return {"quality": quality or 95, "subsampling": 0}
    if name == "WEBP":
        return {"lossless": True, "exact": True} if quality in (None, 100) else {"quality": quality}
    if name == "AVIF":
        return {"quality": quality or 90, "subsampling": "4:4:4"}
    return {}


def _timing(name: str, info: ImageInfo, frames: _SpooledFrames) -> dict[str, Any]:
    timing: dict[str, Any] = {"save_all": True, "duration": _rounded(frames.durations, 10 if name == "GIF" else 1)}
    if name == "GIF":
        if info.plays != 1:
            timing["loop"] = max(info.plays - 1, 0)  # repeats after the first time
        if frames.has_alpha:
            timing |= {"disposal": 2, "optimize": False}  # every frame starts empty and keeps its transparent colour even if unused
    elif name != "AVIF":
        timing["loop"] = info.plays
    return timing


def _rounded(durations: Sequence[float], unit: int) -> list[int]:
    """Round durations to multiples of a unit, both in milliseconds, so that the errors do not add up."""
    ends = np.round(np.cumsum([0, *durations]) / unit).astype(int) * unit
    return np.diff(ends).tolist()


@contextmanager
def _encoding(path: Path) -> Generator[None]:
    try:
        yield
    except (ValueError, OverflowError, RuntimeError, struct.error) as error:
        raise OutputError(f"{path} cannot hold the image: {error}. Write a .png file instead.") from error
