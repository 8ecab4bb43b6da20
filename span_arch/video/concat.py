"""Concatenation of segments to one file, together with everything else in the source. Nothing is decoded or encoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from heapq import merge
from pathlib import Path

from .._util.files import check_output, replacing
from .._util.text import first_line, join_words
from ..errors import OptionError, VideoError
from ._av import av
from .demuxer import Demuxer
from .muxer import Muxer, open_output
from .source import Source, name_of, no_frames, opened
from .video_report import Note
from .window import TimedPacket

_LONGEST_DELAY = 16
"""The largest number of frames that a decoder of H.264 or HEVC holds back."""


def join_segments(
    source: Source, parts: Sequence[Path], target: Path, *, start: float = 0, duration: float = 0, overwrite: bool = False
) -> tuple[Note, ...]:
    """Join the files of segments, and add what `copy_video` keeps of the source.

    Args:
        source, start, duration: the video and the window that the segments were made of, as in `copy_video`.
        parts: their files in order, all written by the same encoder with the same settings. Empty files stand for segments without a
            frame that can be decoded.
        target: a file with the same suffix as the parts.
        overwrite: replace an existing file.

    Returns:
        The streams of the source that were left out.

    Raises:
        MissingExtraError: PyAV is not installed.
        VideoError: the source or a part cannot be read, parts do not match each other, or there is no frame.
        OptionError: a part and the target have different suffixes, or the window is outside of the source.
        OutputError: the target exists or cannot be written, or the disk is full.
    """
    target = Path(target)
    check_output(target, overwrite=overwrite)
    for part in parts:
        if part.suffix != target.suffix:
            raise OptionError(f"{part} cannot become part of {target}. Expected the suffix {target.suffix} for both.")
    parts = [part for part in parts if not part.is_file() or part.stat().st_size]
    if not parts:
        raise no_frames(name_of(source))
    check_alike(parts)
    with opened(source) as container, opened(parts[0]) as first, replacing(target, overwrite=overwrite, durable=True) as temporary:
        demuxer, output = Demuxer(container, name_of(source), start=start, duration=duration), open_output(temporary)
        try:
            muxer = Muxer(output, temporary, demuxer, lambda: _add_video(output, first.streams.video[0], demuxer), video_only=False)
        except av.error.FFmpegError as error:
            raise VideoError(
                f"The segments cannot be joined in a {target.suffix} file ({first_line(error)}). Use another codec."
            ) from error
        with closing(muxer):
            for packet in merge(_timed(parts), demuxer.other_packets(), key=lambda packet: packet.dts * packet.packet.time_base):
                if packet.packet.stream.container is container:
                    muxer.copy(packet)
                else:
                    muxer.write(packet, muxer.video)
        return (*demuxer.notes, *muxer.notes)


def check_alike(parts: Sequence[Path]) -> None:
    """Raise VideoError if a part cannot be read, or differs from the first in a property that decoders only read at the start."""
    first: dict[str, object] = {}
    for part in parts:
        with opened(part) as container:
            properties = _properties(container.streams.video[0])
        first = first or properties
        if properties != first:
            differences = join_words([name for name in properties if properties[name] != first[name]], "and")
            raise VideoError(
                f"{part} does not match {parts[0]}: {differences} differ. The source changes there, or another encoder or settings were "
                "used. Write all segments again with the same settings."
            )


def _properties(stream: av.VideoStream) -> dict[str, object]:
    context = stream.codec_context
    return {
        "codec": context.name,
        "width": context.width,
        "height": context.height,
        "pixel format": context.pix_fmt,
        "colours": (context.colorspace, context.color_range, context.color_primaries, context.color_trc),
        "pixel shape": stream.sample_aspect_ratio,
        "time base": stream.time_base,
        "encoder headers": bytes(context.extradata or b""),
    }


def _add_video(output: av.container.OutputContainer, template: av.VideoStream, demuxer: Demuxer) -> av.VideoStream:
    stream = output.add_stream_from_template(template, opaque=True)
    with suppress(RuntimeError):  # PyAV 14 keeps 1/90000 s, and does not pass the frame rate to Matroska
        stream.time_base = demuxer.time_base
    stream.codec_context.codec_tag = template.codec_context.codec_tag
    stream.codec_context.framerate = demuxer.rate
    if template.metadata.get("alpha_mode") == "1":
        stream.codec_context.pix_fmt = "yuva420p"  # makes Matroska declare the alpha that is stored next to the packets
    return stream


def _timed(parts: Sequence[Path]) -> Iterator[TimedPacket]:
    """Yield the packets of all parts with increasing decoding times.

    Decoding of a part begins a little before its first frame is displayed, possibly before the last frames of the previous part are
    decoded. There is always room for it between those and its first frame.
    """
    last: int | None = None
    for part in parts:
        with opened(part) as container:
            try:
                for packet in container.demux([container.streams.video[0]]):
                    if not packet.size or packet.pts is None:  # the end of the file
                        continue
                    if last is None:
                        last = packet.pts - _LONGEST_DELAY if packet.dts is None else packet.dts
                    else:
                        last = last + 1 if packet.dts is None else max(last + 1, packet.dts)  # Matroska does not store all of them
                    yield TimedPacket(packet, packet.pts, last, packet.duration or 0)
            except av.error.FFmpegError as error:
                raise VideoError(f"{part} cannot be read to its end ({first_line(error)}). Delete it, and write it again.") from error
