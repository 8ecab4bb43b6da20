"""Video files opened for reading."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, cast

from .._util.text import first_line
from ..errors import VideoError
from ._av import av, codec_of

Source = Path | str | BinaryIO
"""A path, or a binary file in memory such as ``io.BytesIO``."""


def name_of(source: Source) -> str:
    """Return the name of a source, for the start of a message."""
    return str(source) if isinstance(source, (str, Path)) else "The video in memory"


@contextmanager
def opened(source: Source) -> Generator[av.container.InputContainer]:
    """Open a source until the end of the block. A file in memory is read from its start.

    Raises:
        MissingExtraError: PyAV is not installed.
        VideoError: the file does not exist, or it is not a video.
    """
    name, open_container = name_of(source), av.open  # a missing PyAV is reported first
    if not isinstance(source, (str, Path)):
        source.seek(0)
    elif not Path(source).is_file():
        raise VideoError(f"{name} does not exist or is not a file. Check its name.")
    try:
        container = open_container(str(source) if isinstance(source, Path) else source, mode="r", metadata_errors="replace")
    except av.error.FFmpegError as error:
        raise VideoError(
            f"{name} cannot be read as a video ({first_line(error)}). Either it has another format, or its end is missing after an "
            "interrupted recording or download."
        ) from error
    with container:
        yield container


def video_stream(container: av.container.InputContainer, name: str) -> av.VideoStream:
    """Return the first video stream that is not a cover image. Raise VideoError if there is none, or no decoder for it."""
    streams = [stream for stream in container.streams.video if not is_cover(stream)]
    if not streams:
        types = ", ".join(sorted({stream.type for stream in container.streams})) or "none"
        raise VideoError(f"{name} has no video stream (its streams: {types}). Choose a file with moving images.")
    if codec_of(streams[0]) is None:
        raise VideoError(f"{name} uses a codec that this PyAV cannot decode. Convert it to H.264 first.")
    return streams[0]


def is_cover(stream: av.stream.Stream) -> bool:
    """Return whether a stream is a single image that players show for the file."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def decoder_of(stream: av.VideoStream) -> av.VideoCodecContext:
    """Return the decoder of a stream. VP8 and VP9 with alpha need libvpx, because FFmpeg's own decoders drop alpha."""
    context = stream.codec_context
    name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(context.codec.canonical_name)
    if stream.metadata.get("alpha_mode") == "1" and name is not None:
        with suppress(av.error.FFmpegError):  # without libvpx, alpha is lost
            return cast("av.VideoCodecContext", av.CodecContext.create(name, "r"))
    context.thread_type = "SLICE"  # decoders with a thread for each frame report broken frames late and inexactly
    return context


def duration_of(container: av.container.InputContainer, stream: av.VideoStream) -> Fraction:
    """Return the duration of a video in seconds; 0 if it is unknown."""
    if container.duration is not None:
        return Fraction(container.duration, av.time_base)
    return stream.duration * time_base_of(stream) if stream.duration else Fraction(0)


def promised_end(container: av.container.InputContainer, stream: av.VideoStream) -> Fraction:
    """Return the second at which the last frame ends according to the header; 0 if the header does not say.

    FFmpeg reports a duration for other containers too, but estimates it from the content.
    """
    containers = set(container.format.name.split(","))
    begin = Fraction(container.start_time or 0, av.time_base)
    if "avi" in containers:  # FFmpeg corrects the duration of an incomplete file, but not its number of frames
        return begin + stream.frames / frame_rate_of(stream)
    if "mov" in containers and stream.duration:  # other tracks may be longer, and are not read to their ends
        return ((stream.start_time or 0) + stream.duration) * time_base_of(stream)
    return begin + duration_of(container, stream) if containers & {"matroska", "flv", "asf"} else Fraction(0)


def time_base_of(stream: av.VideoStream) -> Fraction:
    """Return the unit of a stream's time stamps, in seconds."""
    assert stream.time_base is not None  # only streams that are written have none, until their file begins
    return stream.time_base


def frame_rate_of(stream: av.VideoStream) -> Fraction:
    """Return the average number of frames a second; 25 if it is unknown."""
    return Fraction(stream.average_rate or stream.guessed_rate or 25)


def first_frame(container: av.container.InputContainer, stream: av.VideoStream, name: str) -> av.VideoFrame:
    """Return the first frame that can be decoded. Raise VideoError if there is none."""
    error: Exception | None = None
    packets, decoder = container.demux(stream), decoder_of(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                raise no_frames(name, error)
            for frame in decoder.decode(packet if packet.size else None):
                return frame
        except av.error.FFmpegError as failure:
            error = failure


def no_frames(name: str, error: Exception | None = None) -> VideoError:
    """Return the error for a video without a frame that can be decoded."""
    cause = f" ({first_line(error)})" if error is not None else ""
    return VideoError(f"{name} has no frame that can be decoded{cause}. It is probably incomplete: copy or download it again.")
