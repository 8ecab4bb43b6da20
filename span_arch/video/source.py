"""A video file that is open for reading."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import VideoError
from ._av import pyav, reason

Source = Path | str | BinaryIO
"""A path, or a file in memory such as ``io.BytesIO``."""


def name_of(source: Source) -> str:
    """How messages call it."""
    return f"'{source}'" if isinstance(source, (str, Path)) else "The video in memory"


@contextmanager
def opened(source: Source) -> Generator[Any]:
    """The container of a source, which is closed with the block. A file in memory is read from its start.

    Raises:
        MissingExtraError: PyAV is not installed.
        VideoError: there is no such file, or it is no video.
    """
    av, name = pyav(), name_of(source)
    if isinstance(source, (str, Path)):
        if not Path(source).is_file():
            raise VideoError(f"{name} is no file that is there. Check its name.")
    else:
        source.seek(0)
    try:
        container = av.open(str(source) if isinstance(source, Path) else source, mode="r", metadata_errors="replace")
    except av.error.FFmpegError as error:
        raise VideoError(
            f"{name} cannot be read as a video ({reason(error)}). Either it is of another kind, or its end is missing, as after a "
            "recording or a download that broke off."
        ) from error
    with container:
        yield container


def video_stream(container: Any, name: str) -> Any:
    """The first stream of moving pictures; pictures of covers do not count.

    Raises:
        VideoError: there is none, or PyAV has no decoder for it.
    """
    streams = [stream for stream in container.streams.video if not is_cover(stream)]
    if not streams:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "none"
        raise VideoError(f"{name} has no video stream; its streams: {kinds}. Choose a file with moving pictures.")
    if streams[0].codec_context is None:
        raise VideoError(f"{name} is of a codec that this PyAV has no decoder for. Convert it to H.264 first.")
    return streams[0]


def is_cover(stream: Any) -> bool:
    """Whether it is a single picture that players show for the file."""
    return bool(stream.disposition & pyav().stream.Disposition.attached_pic)


def decoder_of(stream: Any) -> Any:
    """The decoder of a stream. Of VP8 and VP9 with alpha it is that of libvpx, since FFmpeg's own leaves alpha out."""
    av, context = pyav(), stream.codec_context
    if stream.metadata.get("alpha_mode") == "1" and context.codec.canonical_name in ("vp8", "vp9"):
        name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}[context.codec.canonical_name]
        try:
            return av.CodecContext.create(name, "r")
        except av.error.FFmpegError:  # this PyAV has it not: alpha is lost
            pass
    context.thread_type = "SLICE"  # threads for whole frames tell late, and not exactly, which frame is broken
    return context


def seconds(container: Any, stream: Any) -> Fraction:
    """How long it is; 0 if nobody knows."""
    if container.duration is not None:
        return Fraction(container.duration, pyav().time_base)
    return Fraction(stream.duration * stream.time_base) if stream.duration else Fraction(0)


def promised_end(container: Any, stream: Any) -> Fraction:
    """The second at which the last frame ends, as the header of a file says it; 0 if it does not.

    FFmpeg tells a duration of other containers too, but estimates it from what is there.
    """
    kinds = set(container.format.name.split(","))
    begin = Fraction(container.start_time or 0, pyav().time_base)
    if "avi" in kinds:  # of a file that breaks off, FFmpeg corrects the duration
        return begin + stream.frames / rate_of(stream)
    if "mov" in kinds and stream.duration:  # other tracks may be longer, and are not all read
        return (stream.start_time or 0) * stream.time_base + stream.duration * stream.time_base
    return begin + seconds(container, stream) if kinds & {"matroska", "flv", "asf"} else Fraction(0)


def rate_of(stream: Any) -> Fraction:
    """Frames per second, on average; 25 if nobody knows."""
    return Fraction(stream.average_rate or stream.guessed_rate or 25)


def first_frame(container: Any, stream: Any, name: str) -> Any:
    """The first frame that can be decoded.

    Raises:
        VideoError: there is none.
    """
    error: Exception | None = None
    packets, decoder = container.demux(stream), decoder_of(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                raise no_frames(name, error)
            for frame in decoder.decode(packet if packet.size else None):
                return frame
        except pyav().error.FFmpegError as failed:
            error = failed


def no_frames(name: str, error: Exception | None) -> VideoError:
    """The error for a video of which nothing can be decoded."""
    why = f" ({reason(error)})" if error is not None else ""
    return VideoError(f"{name} has no frame that can be decoded{why}. Look whether it plays; most often it is not whole.")
