"""A video to another, each frame by way of a function; reading, that function and writing go on at the same time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from .._util.channel import Channel
from .._util.files import check_output, replacing
from .._util.threads import helpers
from ..engine.progress import Progress, ProgressListener
from ..errors import SpanArchError, VideoError
from .codecs import VideoSettings, encoders
from .reader import Frame, VideoReader
from .source import Source, name_of, opened
from .writer import VideoWriter

Transform = Callable[[Iterator[Tensor]], Iterator[Tensor]]
"""Takes frames, (H, W, C) in RGB or RGBA, and gives one for each, in their order. It may take some before it gives the first."""

_AHEAD = 3
"""How many frames wait on each side of the transform."""


@dataclass(frozen=True)
class VideoReport:
    """What became of a video."""

    frames: int
    """How many were written."""
    broken: int
    """How many of the source could not be decoded and were left out."""
    encoder: str
    """What FFmpeg calls the encoder that was used."""
    warnings: tuple[str, ...]
    """What was left out or is not as in the source, a sentence each."""

    def __str__(self) -> str:
        return " ".join([f"Written by {self.encoder}.", *self.warnings])


def unchanged(frames: Iterator[Tensor]) -> Iterator[Tensor]:
    """The transform that does nothing."""
    return frames


def copy_video(
    source: Source,
    target: Path,
    transform: Transform = unchanged,
    settings: VideoSettings | None = None,
    *,
    start: float = 0,
    duration: float = 0,
    overwrite: bool = False,
    progress: ProgressListener | None = None,
) -> VideoReport:
    """Writes a video anew, with each frame changed by a function.

    Times, colours, the shape of pixels and metadata stay. Audio, subtitles, chapters and attachments are copied as they are where the
    container holds them. Frames that are marked as turned are turned, and the mark is left out. Memory does not grow with the length.

    Args:
        source: a path, or a binary file in memory, which is read from its start.
        target: a path; its suffix tells the container: .mp4, .m4v, .mov, .mkv or .webm.
        transform: is given an iterator over frames, float32 (H, W, C) on the CPU, and returns one over as many, of any floating type, on
            any device, all of one size. Values are in 0..1, but for colours of YUV that RGB has not. It runs in the thread of the caller.
        settings: codec, quality, preset and pixel format.
        start: seconds from the start of the source; from its end if negative.
        duration: in seconds; 0 is up to the end. Frames and packets that begin in the window are in it, so that audio is cut between its
            packets, some 20 ms long.
        overwrite: whether a file that is there may be replaced.
        progress: receives progress. If it raises an exception, the run ends and leaves no file.

    Returns:
        How many frames there were, and what is not as in the source.

    Raises:
        MissingExtraError: PyAV is not installed.
        VideoError: the source cannot be read, or breaks off, its frames change their size, or no encoder takes it. What was finished of the
            frames until then is beside the target, as ``NAME.part.SUFFIX``, and plays; so it is with errors of this library that
            ``transform`` raises.
        OptionError: the settings do not go together, or the window is outside of the source.
        OutputError: the target exists or cannot be written, or the disk is full.
    """
    target, settings = Path(target), settings or VideoSettings()
    encoders(target, settings)
    check_output(target, overwrite=overwrite)
    with opened(source) as container:
        reader = VideoReader(container, name_of(source), start=start, duration=duration)
        with replacing(target, overwrite=overwrite) as temporary:
            writer = VideoWriter(temporary, reader, settings)
            try:
                run(reader, writer, transform, progress)
                writer.close()
            except SpanArchError as error:
                writer.close()
                if not writer.frames:
                    raise
                part = target.with_name(f"{target.stem}.part{target.suffix}")
                temporary.replace(part)
                raise type(error)(f"{error} The {writer.frames} frames that were finished are in '{part}'.") from error
            finally:
                writer.abandon()
        return VideoReport(
            writer.frames, reader.broken, writer.encoder, (*reader.warnings, *warnings_of(reader.broken, reader.name), *writer.warnings)
        )


def warnings_of(broken: int, name: str) -> list[str]:
    """What is to be said of so many broken frames of a video."""
    return [f"{broken} of the frames of {name} could not be decoded and were left out; the others keep their times."] if broken else []


def run(reader: VideoReader, writer: VideoWriter, transform: Transform, progress: ProgressListener | None = None) -> None:
    """Reads all, and writes it, by way of a function; the three go on at the same time. The writer is left open.

    Raises:
        SpanArchError: of the library, after what was finished until then was written.
        BaseException: of another kind, at once.
    """
    decoded: Channel[Frame] = Channel(_AHEAD)
    done: Channel[Frame] = Channel(_AHEAD)
    with helpers(2) as pool:
        try:  # around the starts as well: an interrupt in between must not leave a thread waiting
            pool.submit(_read, reader, writer, decoded)
            writing = pool.submit(_write, writer, done)
            try:
                _transform(decoded, done, transform, reader, progress)
            except SpanArchError as error:  # what is done by now is still written
                decoded.fail(error)
                done.finish()
                writing.result()
                raise
            done.finish()
            writing.result()
        except BaseException as error:
            decoded.fail(error)
            done.fail(error)
            raise


def _read(reader: VideoReader, writer: VideoWriter, decoded: Channel[Frame]) -> None:
    try:
        for thing in reader:
            if isinstance(thing, Frame):
                decoded.put(thing)
            else:
                writer.copy(thing)
    except BaseException as error:
        decoded.finish(error)
    else:
        decoded.finish()


def _write(writer: VideoWriter, done: Channel[Frame]) -> None:
    try:
        for frame in done:
            writer.write(frame)
    except BaseException as error:
        done.fail(error)
        raise


def _transform(
    decoded: Channel[Frame], done: Channel[Frame], transform: Transform, reader: VideoReader, progress: ProgressListener | None
) -> None:
    times: deque[tuple[int, int]] = deque()

    def images() -> Iterator[Tensor]:
        for frame in decoded:
            times.append((frame.pts, frame.duration))
            yield frame.image

    given, count = images(), 0
    for image in transform(given):
        if not times:
            raise VideoError("The transform gave more frames than it was given; expected one for each.")
        done.put(Frame(image, *times.popleft()))
        count += 1
        if progress is not None:
            progress(Progress(count, 0, max(count, reader.expected)))
    if times or next(given, None) is not None:
        raise VideoError(f"The transform ended after {count} frames, and was given more; expected one for each.")
