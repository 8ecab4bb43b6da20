"""Kinds of files, by their names: what is looked for in a folder, and what a result is called."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import OptionError, OutputError
from ..image_files import check_format
from ..video.codecs import container_format

VIDEOS = frozenset((
    ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".nut", ".ogv", ".ts", ".webm",
    ".wmv",
))  # fmt: skip
PICTURES = frozenset((
    ".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pcx", ".pgm", ".png",
    ".pnm", ".ppm", ".psd", ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp",
))  # fmt: skip
"""Of the suffixes that Pillow knows, those of pictures that people keep; others are read where they are named one by one."""


def is_video(path: Path) -> bool:
    """Whether a file of this name is a video."""
    return path.suffix.lower() in VIDEOS


def is_known(path: Path) -> bool:
    """Whether a file of this name is looked for in a folder."""
    return path.suffix.lower() in VIDEOS | PICTURES


def default_codec(path: Path) -> str:
    """What the frames of a video of this name are compressed by if nothing is asked for."""
    return "av1" if path.suffix.lower() == ".webm" else "h264"


@dataclass(frozen=True)
class Formats:
    """What results are written as, where names are kept: as their sources, unless something else is said or those cannot be written."""

    pictures: str | None = None
    """Such as ``png`` or ``jpg``."""
    videos: str | None = None
    """Such as ``mp4`` or ``mkv``."""

    def renamed(self, path: Path) -> Path:
        """The name of what becomes of a file: its own, with the suffix that the format wants."""
        asked, otherwise = (self.videos, ".mkv") if is_video(path) else (self.pictures, ".png")
        if asked is not None:
            return path.with_suffix(f".{asked}")
        return path if _is_written(path) else path.with_suffix(otherwise)  # .mkv holds audio and subtitles of every kind


def formats_of(names: Iterable[str]) -> Formats:
    """Formats by their names, at most one for pictures and one for videos.

    Raises:
        OptionError: a name is no format that can be written, or there are two of a kind.
        MissingExtraError: Pillow is too old for it.
    """
    pictures, videos = list[str](), list[str]()
    for name in (name.lower().removeprefix(".") for name in names):
        if is_video(Path(f"a.{name}")):
            container_format(Path(f"a.{name}"))
            videos.append(name)
        else:
            check_format(Path(f"a.{name}"), name)
            pictures.append(name)
    for kind, found in (("pictures", pictures), ("videos", videos)):
        if len(found) > 1:
            raise OptionError(f"For {kind}, the formats {' and '.join(found)} are asked for; give one.")
    return Formats(pictures[0] if pictures else None, videos[0] if videos else None)


def _is_written(path: Path) -> bool:
    try:
        (container_format if is_video(path) else check_format)(path)
    except (OptionError, OutputError):
        return False
    return True
