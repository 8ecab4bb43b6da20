"""A video file that is being written: the packets that go into it, and what it has beside its frames."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import Any

from ._av import pyav
from .codecs import container_format
from .reader import VideoReader
from .source import is_cover

_STALE = (
    "DURATION", "ENCODER", "BPS", "NUMBER_OF_", "_STATISTICS", "CREATION_TIME", "VENDOR_ID", "MAJOR_BRAND", "MINOR_VERSION",
    "COMPATIBLE_BRANDS", "ALPHA_MODE",
)  # fmt: skip
"""Beginnings of the names of metadata that tell of the old file, and would not be true of the new one."""


_MOVFLAGS = "+faststart+use_metadata_tags"


class Muxer:
    """Writes packets: those of the video as its heirs give them, those of other streams as they are.

    Args:
        path: of the file; its suffix tells the container.
        reader: what it is made of.
        alone: whether there is to be nothing but the video. Then MP4, too, tells exactly when it begins.
    """

    def __init__(self, path: Path, reader: VideoReader, *, alone: bool = False) -> None:
        self._path, self._reader, self._alone = path, reader, alone
        self._lock = Lock()
        self._container: Any = None
        self._waiting: list[Any] = []
        self._copies: dict[int, Any] = {}
        self._closed = False
        self.warnings: list[str] = []

    def copy(self, packet: Any) -> None:
        """Takes a packet of another stream; from any thread.

        Raises:
            OSError: the file cannot be written.
        """
        with self._lock:
            if self._container is None:
                self._waiting.append(packet)
            elif not self._closed:
                self._pass_on(packet)

    def abandon(self) -> None:
        """Closes the file as it is."""
        with self._lock:
            if self._container is not None and not self._closed:
                self._closed = True
                self._container.close()

    def _open(self) -> Any:
        form, told = container_format(self._path), dict[str, str]()
        if form in ("mp4", "mov"):
            told = {"movie_timescale": str(self._reader.time_base.denominator)} if self._alone else {"movflags": _MOVFLAGS}
        return pyav().open(str(self._path), mode="w", format=form, container_options=told)

    def _add_streams(self, container: Any, add_video: Callable[[Any], Any]) -> None:
        """Adds all streams of the source in their order, that of the video by the function, and what is beside them."""
        source = self._reader.container
        for stream in source.streams:
            if stream.index == self._reader.stream.index:
                made = add_video(stream)
                made.metadata.update(_kept(stream.metadata, "ROTATE"))
            elif not self._alone:
                self._add_copy(container, stream)
        if not self._alone:
            container.metadata.update(_kept(source.metadata))
            _copy_chapters(self._reader, container)

    def _add_copy(self, container: Any, source: Any) -> None:
        if is_cover(source):  # the place of MP4 for it is not there together with metadata of any name; Matroska would make it a video
            self.warnings.append("The picture of its cover was left out.")
            return
        try:
            if source.type == "attachment":
                container.add_attachment(source.name or "attachment", source.mimetype or "application/octet-stream", source.data)
                return
            if source.type not in ("audio", "subtitle", "video") or source.codec_context is None:
                raise ValueError("nothing to copy it with")
            stream = container.add_stream_from_template(source, opaque=True)
        except (ValueError, AttributeError):
            codec = f" ({source.codec_context.codec.canonical_name})" if source.codec_context is not None else ""
            kind = f"Stream {source.index} of the source, {source.type}{codec},"
            self.warnings.append(f"{kind} was left out: files of {self._path.suffix} do not hold it. Files of .mkv hold most.")
            return
        stream.metadata.update(_kept(source.metadata))
        stream.disposition = source.disposition.value
        self._copies[source.index] = stream

    def _begun(self, container: Any) -> None:
        self._container = container
        for packet in self._waiting:
            self._pass_on(packet)
        self._waiting.clear()

    def _pass_on(self, packet: Any) -> None:
        if (stream := self._copies.get(packet.stream.index)) is not None:
            packet.stream = stream
            self._container.mux(packet)


def _kept(metadata: dict[str, str], *stale: str) -> dict[str, str]:
    return {key: text for key, text in metadata.items() if not key.upper().startswith((*_STALE, *stale))}


def _copy_chapters(reader: VideoReader, container: Any) -> None:
    """Chapters of the window. PyAV knows of chapters since version 15 or so; without, they are left out."""
    if not hasattr(container, "set_chapters"):
        return
    chapters: list[dict[str, Any]] = []
    for chapter in reader.container.chapters():
        base = Fraction(chapter["time_base"])
        start, end = (chapter[side] - round(reader.origin / base) for side in ("start", "end"))
        last = end if reader.length is None else min(end, round(reader.length / base))
        if last > max(0, start):
            chapters.append({**chapter, "start": max(0, start), "end": last})
    if chapters:
        container.set_chapters(chapters)
