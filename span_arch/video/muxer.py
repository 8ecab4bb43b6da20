"""Video files in the making: their packets, and everything that they take over from a source unchanged."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import cast

from ._av import av, codec_of
from .codecs import container_format
from .demuxer import Demuxer
from .source import is_cover
from .video_report import Note
from .window import TimedPacket

_STALE = (
    "DURATION", "ENCODER", "BPS", "NUMBER_OF_", "_STATISTICS", "CREATION_TIME", "VENDOR_ID", "MAJOR_BRAND", "MINOR_VERSION",
    "COMPATIBLE_BRANDS", "ALPHA_MODE",
)  # fmt: skip
"""Prefixes of metadata names that describe the old file and would be wrong in the new one."""


def open_output(path: Path, exact_clock: Fraction | None = None) -> av.container.OutputContainer:
    """Open a file for writing, in the container of its suffix. Raise OSError if that fails.

    Given the unit of its times in seconds, MP4 stores the exact start of its first frame, but no metadata of other names.
    """
    container, options = container_format(path), dict[str, str]()
    if container in ("mp4", "mov") and exact_clock is not None:
        options["movie_timescale"] = str(exact_clock.denominator)
    elif container in ("mp4", "mov"):
        options["movflags"] = "+faststart+use_metadata_tags"
    return av.open(str(path), mode="w", format=container, container_options=options)


class Muxer:
    """A file with the streams of a source, and a new video stream in place of the old one. Methods may raise OSError.

    Args:
        container: open for writing. The muxer closes it, also if this constructor fails.
        path: its file.
        demuxer: the source.
        add_video: adds the new video stream to the container.
        video_only: leave out the other streams, metadata and chapters.

    Raises:
        FFmpegError: the container or the encoder does not accept the streams.
    """

    def __init__(
        self,
        container: av.container.OutputContainer,
        path: Path,
        demuxer: Demuxer,
        add_video: Callable[[], av.VideoStream],
        *,
        video_only: bool,
    ) -> None:
        self.notes: list[Note] = []
        """The streams that were left out."""
        self._container, self._path = container, path
        self._copies: dict[int, av.stream.Stream] = {}
        source = demuxer.container
        try:
            with demuxer.lock:
                for stream in source.streams:
                    if stream.index == demuxer.stream.index:
                        self.video = add_video()
                        self.video.metadata.update(_current(stream.metadata, "ROTATE"))
                    elif not video_only:
                        self._add_copy(stream)
                if not video_only:
                    container.metadata.update(_current(source.metadata))
                    _copy_chapters(demuxer, container)
            container.start_encoding()
        except BaseException:
            self.close()
            raise

    def copy(self, packet: TimedPacket) -> None:
        """Write a packet of another stream of the source, if the file has that stream."""
        if (stream := self._copies.get(packet.packet.stream.index)) is not None:
            self.write(packet, stream)

    def write(self, packet: TimedPacket, stream: av.stream.Stream) -> None:
        """Write a packet to a stream of the file. This changes the packet itself, which is not used again."""
        raw = packet.packet
        raw.pts, raw.dts, raw.duration, raw.stream = packet.pts, packet.dts, packet.duration, stream
        self._container.mux(raw)

    def close(self) -> None:
        """Close the file, which then has all packets that were written."""
        self._container.close()

    def _add_copy(self, source: av.stream.Stream) -> None:
        if is_cover(source):  # MP4 cannot store it together with metadata of any name, and Matroska would make it a video
            self.notes.append(Note("no cover"))
            return
        codec = codec_of(source)
        with suppress(ValueError, AttributeError):  # the container cannot hold it, or PyAV 14 cannot copy attachments
            if source.type == "attachment":
                attachment = cast("av.stream.AttachmentStream", source)
                mimetype = attachment.mimetype or "application/octet-stream"
                self._container.add_attachment(attachment.name or "attachment", mimetype, attachment.data)
                return
            if codec is not None and source.type in ("audio", "subtitle", "video"):
                stream = self._container.add_stream_from_template(source, opaque=True)
                stream.metadata.update(_current(source.metadata))
                stream.disposition = cast("av.stream.Disposition", source.disposition.value)  # PyAV 14 takes a number only
                self._copies[source.index] = stream
                return
        values = {"type": source.type, "codec": codec or "unknown codec", "suffix": self._path.suffix}
        self.notes.append(Note.of("no stream", stream=source.index, **values))


def _current(metadata: dict[str, str], *stale: str) -> dict[str, str]:
    """Return the metadata that is true of the new file as well."""
    return {key: text for key, text in metadata.items() if not key.upper().startswith((*_STALE, *stale))}


def _copy_chapters(demuxer: Demuxer, container: av.container.OutputContainer) -> None:
    """Copy the chapters in the window. PyAV 14 does not support chapters and leaves them out."""
    if not hasattr(container, "set_chapters"):
        return
    chapters: list[av.container.Chapter] = []
    for chapter in demuxer.container.chapters():
        base = Fraction(chapter["time_base"] or 1)
        shift, length = round(demuxer.window.origin / base), demuxer.window.length
        start, end = chapter["start"] - shift, chapter["end"] - shift
        end = end if length is None else min(end, round(length / base))
        if end > max(0, start):
            chapters.append({**chapter, "start": max(0, start), "end": end})
    if chapters:
        container.set_chapters(chapters)
