"""Segments to one file, with what the source has beside its frames; nothing is decoded or encoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from heapq import merge
from pathlib import Path
from typing import Any

from .._util.files import check_output, replacing
from ..errors import OptionError, VideoError
from ._av import pyav, reason
from .muxer import Muxer
from .reader import VideoReader
from .source import Source, name_of, opened

_LONGEST_WAIT = 16
"""Frames that a decoder may hold back until others are there, in H.264 and HEVC."""


def join_segments(
    source: Source, parts: Sequence[Path], target: Path, *, start: float = 0, duration: float = 0, overwrite: bool = False
) -> tuple[str, ...]:
    """Joins the files of segments, and adds what `copy_video` keeps of the source.

    Args:
        source: what the segments are of.
        parts: their files, in their order, all written with the same settings by the same encoder. Empty files stand for segments of which
            nothing could be decoded.
        target: with the suffix that the parts have.
        start: of the window that the segments are in, as in `copy_video`.
        duration: the same.
        overwrite: whether a file that is there may be replaced.

    Returns:
        What of the source was left out, a sentence each.

    Raises:
        MissingExtraError: PyAV is not installed.
        VideoError: the source or a part cannot be read, parts do not fit each other, or there is no frame.
        OptionError: a part has another suffix than the target, or the window is outside of the source.
        OutputError: the target exists or cannot be written, or the disk is full.
    """
    target = Path(target)
    check_output(target, overwrite=overwrite)
    for part in parts:
        if part.suffix != target.suffix:
            raise OptionError(f"'{part}' cannot become a part of '{target}': expected the suffix {target.suffix}, as for the whole.")
    parts = [part for part in parts if not part.is_file() or part.stat().st_size]
    if not parts:
        raise VideoError(f"{name_of(source)} has no frame that can be decoded. Look whether it plays; most often it is not whole.")
    check_alike(parts)
    with opened(source) as container:
        reader = VideoReader(container, name_of(source), start=start, duration=duration)
        with replacing(target, overwrite=overwrite, durable=True) as temporary:
            joiner = _Joiner(temporary, reader)
            try:
                joiner.write(parts)
            finally:
                joiner.abandon()
        return (*reader.warnings, *joiner.warnings)


def check_alike(parts: Sequence[Path]) -> None:
    """Sees to it that the parts can be one stream.

    Raises:
        VideoError: a part cannot be read, or differs from the first in what decoders are told at the start only.
    """
    first: dict[str, object] = {}
    for part in parts:
        with opened(part) as container:
            told = _told(container.streams.video[0])
        first = first or told
        if told != first:
            differences = ", ".join(name for name in told if told[name] != first[name])
            raise VideoError(
                f"'{part}' does not fit to '{parts[0]}': different are {differences}. Either frames of the source change there, or another "
                "encoder or other settings were used. Make all segments anew with the same."
            )


def _told(stream: Any) -> dict[str, object]:
    context = stream.codec_context
    return {
        "codec": context.name,
        "width": context.width,
        "height": context.height,
        "pixel format": context.pix_fmt,
        "colours": (context.colorspace, context.color_range, context.color_primaries, context.color_trc),
        "shape of pixels": stream.sample_aspect_ratio,
        "time base": stream.time_base,
        "headers of the encoder": bytes(context.extradata or b""),
    }


class _Joiner(Muxer):
    """Writes the packets of parts, and of the other streams of the source between them."""

    _stream: Any

    def write(self, parts: Sequence[Path]) -> None:
        with opened(parts[0]) as template:
            self._begin(template.streams.video[0])
        for packet in merge(self._frames(parts), self._reader.others(), key=lambda packet: packet.dts * packet.time_base):
            if packet.stream is self._stream:
                self._container.mux(packet)
            else:
                self.copy(packet)

    def _begin(self, template: Any) -> None:
        container = self._open()
        try:
            self._add_streams(container, lambda _: self._add_video(container, template))
            container.start_encoding()
        except pyav().error.FFmpegError as error:
            raise VideoError(f"The segments cannot be joined in a file of {self._path.suffix} ({reason(error)}).") from error
        self._begun(container)

    def _add_video(self, container: Any, template: Any) -> Any:
        self._stream = stream = container.add_stream_from_template(template, opaque=True)
        with suppress(RuntimeError):  # PyAV 14 leaves it at 1/90000 s, and does not tell Matroska the frame rate
            stream.time_base = self._reader.time_base
        stream.codec_context.codec_tag = template.codec_context.codec_tag
        stream.codec_context.framerate = self._reader.rate
        if template.metadata.get("alpha_mode") == "1":
            stream.codec_context.pix_fmt = "yuva420p"  # by which Matroska is told of alpha that lies beside the packets
        return stream

    def _frames(self, parts: Sequence[Path]) -> Iterator[Any]:
        """The packets of all parts.

        Each part is decoded a little before it is displayed, which may be before the last frames of the one before are decoded. There is
        always room for it between these and the first frame of the part.
        """
        last: int | None = None
        for part in parts:
            for packet in _packets(part):
                last = _decode_time(packet, last)
                packet.dts = last
                packet.stream = self._stream
                yield packet


def _decode_time(packet: Any, last: int | None) -> int:
    """When a packet is decoded, if the one before is at ``last``. Matroska tells it not of all."""
    if last is None:
        return packet.pts - _LONGEST_WAIT if packet.dts is None else packet.dts
    return last + 1 if packet.dts is None else max(last + 1, packet.dts)


def _packets(part: Path) -> Iterator[Any]:
    with opened(part) as container:
        try:
            for packet in container.demux(container.streams.video[0]):
                if packet.size:
                    yield packet
        except pyav().error.FFmpegError as error:
            raise VideoError(f"'{part}' cannot be read to its end ({reason(error)}). Delete it, and make that segment anew.") from error
