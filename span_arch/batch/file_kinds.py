"""Kinds of files by their suffix: which ones a folder search picks up, and what their results are called."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import OptionError, OutputError
from ..image_files import check_format
from ..video.codecs import container_format

VIDEO_SUFFIXES = frozenset((
    ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".nut", ".ogv", ".ts", ".webm",
    ".wmv",
))  # fmt: skip
IMAGE_SUFFIXES = frozenset((
    ".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pcx", ".pgm", ".png",
    ".pnm", ".ppm", ".psd", ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp",
))  # fmt: skip
"""The common image formats that Pillow reads. Its other formats are read from files that are named one by one."""


def is_video(path: Path) -> bool:
    """Return True if the suffix is that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def is_supported(path: Path) -> bool:
    """Return True if a folder search picks up files with this suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES


def default_codec(path: Path) -> str:
    """Return the codec for a video of this name if the user has chosen none."""
    return "av1" if path.suffix.lower() == ".webm" else "h264"


@dataclass(frozen=True)
class Formats:
    """The formats of results in a folder. None keeps the format of the source; one that cannot be written becomes PNG or Matroska."""

    images: str | None = None
    """For example ``png`` or ``jpg``."""
    videos: str | None = None
    """For example ``mp4`` or ``mkv``."""

    def target_name(self, source: Path) -> Path:
        """Return the path of a source with the suffix of its result."""
        chosen, fallback = (self.videos, ".mkv") if is_video(source) else (self.images, ".png")
        if chosen is not None:
            return source.with_suffix(f".{chosen}")
        return source if _is_writable(source) else source.with_suffix(fallback)  # .mkv holds audio and subtitles of every kind


def parse_formats(names: Iterable[str]) -> Formats:
    """Return the formats with these names, at most one for images and one for videos.

    Raises:
        OptionError: a format is unknown or cannot be written, or two of a kind are given.
        MissingExtraError: the installed Pillow is too old for the format.
    """
    images, videos = list[str](), list[str]()
    for name in (name.lower().removeprefix(".") for name in names):
        file = Path(f"a.{name}")
        if is_video(file):
            container_format(file)
            videos.append(name)
        else:
            check_format(file, name)
            images.append(name)
    for kind, given in (("images", images), ("videos", videos)):
        if len(given) > 1:
            raise OptionError(f"There are {len(given)} formats for {kind}: {' and '.join(given)}. Give only one.")
    return Formats(images[0] if images else None, videos[0] if videos else None)


def _is_writable(path: Path) -> bool:
    try:
        (container_format if is_video(path) else check_format)(path)
    except (OptionError, OutputError):
        return False
    return True
