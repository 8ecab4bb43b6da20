"""Image tensors to files."""

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
from .contents import Animation, Frame, ImageInfo, StillImage
from .formats import Container, check_fits, container
from .image_metadata import settings
from .sixteen_bit import write_deep

_TRANSPARENT = 255
"""The index of the colour that is none, in the palette of a GIF."""


def write_image(path: Path, picture: StillImage, *, format: str | None = None, quality: int | None = None, overwrite: bool = False) -> None:
    """Writes a still picture, as `write_images` does.

    Raises:
        OptionError, OutputError, MissingExtraError: as `write_images`.
    """
    write_images(path, Animation((Frame(picture.image),), picture.info), format=format, quality=quality, overwrite=overwrite)


def write_images(
    path: Path, animation: Animation, *, format: str | None = None, quality: int | None = None, overwrite: bool = False
) -> None:
    """Writes a picture, still or animated, whole or not at all.

    It has 16 bits a channel if ``animation.info`` says so, it is still, and the format is PNG or TIFF; else 8. Of the rest of
    ``animation.info`` it has what the format can hold. The frames are taken one at a time, and laid down in a file without a name beside
    ``path``, as large as all their pixels. Pillow then goes through that for AVIF and WebP with one frame in memory, for PNG and GIF with
    all of them.

    Args:
        path: the file to write.
        animation: what to write. Frames may be made while they are asked for.
        format: ``png``, ``jpg``, ``webp``, ``avif``, ``gif``, ``tiff`` or another that Pillow writes; without it, the suffix says it.
        quality: 1..100, for JPEG, WebP and AVIF. 100 makes WebP lossless. Without it, JPEG gets 95, WebP 100 and AVIF 90.
        overwrite: replace a file that exists.

    Raises:
        ImageError: there are no frames, or they differ in shape.
        OptionError: ``quality`` or ``format`` is none.
        OutputError: the suffix is no format that Pillow writes, the format does not hold such a picture, the file exists, or it cannot be
            written.
        MissingExtraError: 16 bits a channel or AVIF are to be written, and the package for it is not installed or too old.
    """
    target = container(path, format)
    encoder = _encoder(target.name, quality)
    frames = iter(animation.frames)
    with replacing(path, overwrite=overwrite) as temporary, _File(temporary, "wb+") as raw, io.BufferedRandom(raw) as file:
        first, second = next(frames, None), next(frames, None)
        if first is None:
            raise ImageError("There are no frames to write. Expected one or more.")
        height, width, channels = first.image.shape[1:]
        check_fits(
            path, width=width, height=height, channels=channels, frames=1 if second is None else max(animation.count, 2), format=format
        )
        encoder |= settings(animation.info, target.name, width, height, channels)
        if second is None:
            with _encoding(path):
                _write_still(file, first.image, animation.info, target, encoder)
            return
        with tempfile.TemporaryFile(dir=path.absolute().parent) as film:
            reel = (_GIFReel if target.name == "GIF" else _Reel)(film, chain((first, second), frames), tuple(first.image.shape))
            with _encoding(path):
                reel.save(file, target.name, **encoder, **_timing(target.name, animation.info, reel))


class _File(io.FileIO):
    """A file that Pillow has to write through Python, which says what went wrong; its own encoders hide that the disk is full."""

    def fileno(self) -> int:
        raise io.UnsupportedOperation


class _Reel(Image.Image):
    """Frames in a file, as Pillow likes them: an image that is each of them in turn."""

    def __init__(self, film: IO[bytes], frames: Iterable[Frame], shape: tuple[int, ...]) -> None:
        super().__init__()
        self._film, self._position = film, 0
        self.durations: list[float] = []
        for frame in frames:
            if frame.image.shape != shape:
                raise ImageError(f"Frame {len(self.durations) + 1} has the shape {tuple(frame.image.shape)}, but the first has {shape}.")
            film.write(_levels(frame.image, 8).data)
            self.durations.append(frame.duration)
        _, height, width, channels = shape
        self._bytes = height * width * channels
        self.see_through = channels == 4
        vars(self).update(vars(Image.new({1: "L", 3: "RGB", 4: "RGBA"}[channels], (width, height))))
        self.n_frames = len(self.durations)
        self.is_animated = True
        self.seek(0)

    def seek(self, frame: int) -> None:
        if not 0 <= frame < self.n_frames:
            raise EOFError
        self._position = frame
        self._film.seek(frame * self._bytes)
        self.frombytes(self._film.read(self._bytes))

    def tell(self) -> int:
        return self._position


class _GIFReel(_Reel):
    """Frames of which Pillow, which takes copies of them for a GIF, is given such as can be seen through."""

    def copy(self) -> Image.Image:
        return _for_gif(super().copy())


def _for_gif(image: Image.Image) -> Image.Image:
    """With a palette in which one colour is transparent, if there is an alpha channel; half of it is enough to be seen."""
    if image.mode != "RGBA":
        return image
    indexed = image.convert("RGB").quantize(_TRANSPARENT)
    colours = indexed.getpalette() or []
    indexed.putpalette(colours[: 3 * _TRANSPARENT] + [0] * (3 * (_TRANSPARENT + 1) - len(colours)))
    indexed.paste(_TRANSPARENT, mask=image.getchannel("A").point([255] * 128 + [0] * 128))
    indexed.info["transparency"] = _TRANSPARENT
    return indexed


def _write_still(file: io.BufferedRandom, image: Tensor, info: ImageInfo, target: Container, encoder: dict[str, Any]) -> None:
    bits = 16 if info.bits == 16 and target.deep else 8
    levels = _levels(image, bits)
    if bits == 16 and levels.shape[-1] > 1:
        write_deep(file, levels, target.name, encoder)
    else:
        still = Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)
        (_for_gif(still) if target.name == "GIF" else still).save(file, target.name, **encoder)


def _levels(image: Tensor, bits: int) -> NDArray[Any]:
    """(H, W, C) levels of an image (1, H, W, C)."""
    top = 2**bits - 1
    whole = image[0].float().mul(top).round_().clamp_(0, top)
    if bits == 8:
        return whole.to(torch.uint8).cpu().numpy()
    return whole.cpu().numpy().astype(np.uint16)


def _encoder(name: str, quality: int | None) -> dict[str, Any]:
    """What Pillow's ``save`` is told of how to compress."""
    if quality is not None and not 1 <= quality <= 100:
        raise OptionError(f"The quality is {quality}; expected 1 to 100.")
    if name == "JPEG":
        return {"quality": quality or 95, "subsampling": 0}
    if name == "WEBP":
        return {"lossless": True, "exact": True} if quality in (None, 100) else {"quality": quality}
    if name == "AVIF":
        return {"quality": quality or 90, "subsampling": "4:4:4"}
    return {}


def _timing(name: str, info: ImageInfo, reel: _Reel) -> dict[str, Any]:
    timing: dict[str, Any] = {"save_all": True, "duration": _whole(reel.durations, 10 if name == "GIF" else 1)}
    if name == "GIF":
        if info.plays != 1:
            timing["loop"] = max(info.plays - 1, 0)  # how often after the first time
        if reel.see_through:
            timing |= {"disposal": 2, "optimize": False}  # every frame begins empty, and keeps its transparent colour, used or not
    elif name != "AVIF":
        timing["loop"] = info.plays
    return timing


def _whole(durations: Sequence[float], unit: int) -> list[int]:
    """Durations in whole units of so many milliseconds, none of which drifts from its time."""
    ends = np.round(np.cumsum([0, *durations]) / unit).astype(int) * unit
    return np.diff(ends).tolist()


@contextmanager
def _encoding(path: Path) -> Generator[None]:
    try:
        yield
    except (ValueError, OverflowError, RuntimeError, struct.error) as error:
        raise OutputError(f"'{path}' cannot hold the picture: {error}. Write a .png file instead.") from error
