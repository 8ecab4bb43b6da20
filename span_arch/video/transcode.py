"""Transcoding: a video is read, each frame goes through a function, and the results are written, all at the same time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from torch import Tensor

from .._util.channel import Channel
from .._util.files import check_output, replacing
from .._util.text import with_context
from .._util.threads import helpers
from ..engine.progress import Progress, ProgressListener
from ..errors import SpanArchError, VideoError
from .codecs import VideoSettings, encoders
from .demuxer import Demuxer
from .encoding import choose_encoding
from .reader import VideoFrame, VideoReader
from .source import Source, name_of, opened
from .video_report import VideoReport
from .window import TimedPacket
from .writer import VideoWriter

Transform = Callable[[Iterator[Tensor]], Iterator[Tensor]]
"""Takes frames, (H, W, C) in RGB or RGBA, and yields one result for each, in order. It may take several before it yields the first."""

_AHEAD = 3
"""Frames that wait on each side of the transform."""

_MOST_PACKETS = 256
"""Packets of other streams that wait for the next frame."""

_Batch = tuple[VideoFrame | None, list[TimedPacket]]
"""A frame, if there is one, and the packets of other streams before it in the file."""


def unchanged(frames: Iterator[Tensor]) -> Iterator[Tensor]:
    """Return the frames; the transform that does nothing."""
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
    """Write a new video whose frames are those of another, changed by a function.

    Times, colours, pixel shape and metadata stay. Audio, subtitles, chapters and attachments are copied unchanged where the container
    holds them. Frames that are marked as rotated are rotated, and the mark is dropped. Memory does not grow with the length.

    Args:
        source: a path, or a binary file in memory, which is read from its start.
        target: a path whose suffix names the container: .mp4, .m4v, .mov, .mkv or .webm.
        transform: takes an iterator of frames, float32 (H, W, C) on the CPU, and returns an iterator of as many, of any floating type, on
            any device, all of one size. Values are in 0..1, except for YUV colours outside of RGB. It runs in the caller's thread.
        settings: codec, quality, preset and pixel format.
        start: seconds from the start of the source; from its end if negative.
        duration: in seconds; 0: to the end. The window contains the frames and packets that begin in it, so audio is cut between its
            packets of about 20 ms.
        overwrite: replace an existing file.
        progress: receives progress. If it raises an exception, the run ends and leaves no file.

    Returns:
        The number of frames, and what differs from the source.

    Raises:
        MissingExtraError: PyAV is not installed.
        VideoError: the source cannot be read or breaks off, its frames change their size, or no encoder accepts it. After this and any
            other SpanArchError from ``transform``, the finished frames are next to the target in ``NAME.part.SUFFIX``, which plays.
        OptionError: the settings contradict each other, or the window is outside of the source.
        OutputError: the target exists or cannot be written, or the disk is full.
    """
    target, settings = Path(target), settings or VideoSettings()
    encoders(target, settings)
    check_output(target, overwrite=overwrite)
    with opened(source) as container:
        demuxer = Demuxer(container, name_of(source), start=start, duration=duration)

        def report(frames: int) -> None:
            if progress is not None:
                progress(Progress(frames, 0, max(frames, demuxer.expected_frames)))

        with replacing(target, overwrite=overwrite) as temporary:
            result, error = transcode_frames(demuxer, temporary, transform, settings, report, video_only=False)
            if error is None:
                return result
            if not result.frames:
                raise error
            part = target.with_name(f"{target.stem}.part{target.suffix}")
            temporary.replace(part)
            raise with_context(error, f"The {result.frames} finished frames are in {part}.") from error


def transcode_frames(
    demuxer: Demuxer, path: Path, transform: Transform, settings: VideoSettings, report: Callable[[int], None], *, video_only: bool
) -> tuple[VideoReport, SpanArchError | None]:
    """Write the window of a demuxer to a file. An error of this library is returned, after all finished frames have been written.

    ``report`` receives the number of finished frames. ``video_only`` leaves out everything else in the source.
    """
    reader = VideoReader(demuxer)

    def open_writer(image: Tensor) -> VideoWriter:
        assert reader.format is not None  # there is an image
        encoding = choose_encoding(path, settings, reader.format, (image.shape[1], image.shape[0]))
        return VideoWriter(path, demuxer, encoding, video_only=video_only)

    writer, error = run(reader, open_writer, transform, report)
    notes = (*demuxer.notes, *reader.notes)
    if writer is None:
        return VideoReport(0, reader.broken, "", notes), error
    return VideoReport(writer.frames, reader.broken, writer.encoding.encoder, (*notes, *writer.notes)), error


def run(
    items: Iterable[VideoFrame | TimedPacket],
    open_writer: Callable[[Tensor], VideoWriter],
    transform: Transform,
    report: Callable[[int], None],
) -> tuple[VideoWriter | None, SpanArchError | None]:
    """Read in one thread, transform in the caller's, and write in another. ``open_writer`` receives the first result.

    Return the closed writer, if there was a frame, and the error of this library that ended the run, if there was one. An error of
    another kind ends the run at once.
    """
    decoded: Channel[_Batch] = Channel(_AHEAD)
    finished: Channel[_Batch] = Channel(_AHEAD)
    with helpers(2) as pool:
        try:  # includes the starts: an interrupt between them must not leave a thread waiting
            pool.submit(_read, items, decoded)
            writing = pool.submit(_write, finished, open_writer)
            try:
                _transform(decoded, finished, transform, report)
            except SpanArchError as error:
                decoded.fail(error)
                finished.finish(error)
            else:
                finished.finish()
            return writing.result()
        except BaseException as error:
            decoded.fail(error)
            finished.fail(error)
            raise


def _read(items: Iterable[VideoFrame | TimedPacket], decoded: Channel[_Batch]) -> None:
    packets: list[TimedPacket] = []
    try:
        for item in items:
            frame = item if isinstance(item, VideoFrame) else None
            if isinstance(item, TimedPacket):
                packets.append(item)
            if frame is not None or len(packets) == _MOST_PACKETS:
                decoded.put((frame, packets))
                packets = []
        decoded.put((None, packets))
    except BaseException as error:
        decoded.finish(error)
    else:
        decoded.finish()


def _transform(decoded: Channel[_Batch], finished: Channel[_Batch], transform: Transform, report: Callable[[int], None]) -> None:
    times: deque[tuple[int, int]] = deque()
    waiting: list[TimedPacket] = []
    count = 0

    def send(frame: VideoFrame | None) -> None:
        nonlocal waiting
        packets, waiting = waiting, []
        finished.put((frame, packets))

    def images() -> Iterator[Tensor]:
        for frame, packets in decoded:
            waiting.extend(packets)
            if frame is None:
                send(None)
            else:
                times.append((frame.pts, frame.duration))
                yield frame.image

    given = images()
    for image in transform(given):
        if not times:
            raise VideoError("The transform yielded more frames than it received. Expected one for each.")
        send(VideoFrame(image, *times.popleft()))
        count += 1
        report(count)
    if times or next(given, None) is not None:
        raise VideoError(f"The transform ended after {count} frames, but received more. Expected one for each.")


def _write(finished: Channel[_Batch], open_writer: Callable[[Tensor], VideoWriter]) -> tuple[VideoWriter | None, SpanArchError | None]:
    writer: VideoWriter | None = None
    failure: SpanArchError | None = None
    waiting: list[TimedPacket] = []
    with ExitStack() as files:
        try:
            for frame, packets in finished:
                waiting += packets
                if frame is not None and writer is None:
                    writer = files.enter_context(closing(open_writer(frame.image)))
                if writer is not None:
                    writer.write(frame, waiting)
                    waiting.clear()
        except SpanArchError as error:  # also one of the transform; the finished frames are still written
            finished.fail(error)
            failure = error
        except BaseException as error:
            finished.fail(error)
            raise
        try:
            if writer is not None:
                writer.finish()
        except SpanArchError as error:
            failure = failure or error
    return writer, failure
