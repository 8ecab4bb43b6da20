"""What there is to know of a video, without decoding more of it than a frame."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from .colour import Colour
from .frames import colour_of, layout_of
from .source import Source, first_frame, name_of, opened, rate_of, seconds, video_stream


@dataclass(frozen=True)
class AudioInfo:
    """What there is to know of a stream of audio."""

    codec: str
    channels: int
    sample_rate: int
    """In hertz."""
    language: str | None


@dataclass(frozen=True)
class VideoInfo:
    """What there is to know of a video."""

    width: int
    """Of a frame as it is displayed, that is turned by `rotation`; in pixels."""
    height: int
    fps: Fraction
    """On average."""
    frames: int
    """As the container has it, or estimated from `duration`; 0 if it is not known."""
    duration: float
    """In seconds; 0 if it is not known."""
    codec: str
    pixel_format: str
    """As FFmpeg has it."""
    depth: int
    """Bits of a sample."""
    alpha: bool
    colour: Colour
    sample_aspect_ratio: Fraction
    """Width of a pixel as it is displayed, by its height."""
    rotation: int
    """By how many degrees players turn it anticlockwise."""
    audio: tuple[AudioInfo, ...]
    subtitles: tuple[str, ...]
    """The codecs of the streams of subtitles."""
    attachments: int

    def frames_in(self, start: float, duration: float) -> int:
        """About how many frames there are in a window, by its start and its duration (0: to the end) in seconds; 0 if it is not known."""
        if not start and not duration:
            return self.frames
        left = -start if start < 0 else self.duration - start
        return max(0, round(float(self.fps) * (min(duration, left) if duration else left)))


def probe(source: Source) -> VideoInfo:
    """Looks at a video: at what its container says, and at its first frame.

    Args:
        source: a path, or a binary file in memory, which is read from its start.

    Raises:
        MissingExtraError: PyAV is not installed.
        VideoError: it is no video, there is nothing to decode in it, or it is of a kind that cannot be read.
    """
    name = name_of(source)
    with opened(source) as container:
        stream = video_stream(container, name)
        frame = first_frame(container, stream, name)
        layout, turned = layout_of(frame), frame.rotation % 180 != 0
        sides, ratio = (frame.width, frame.height), Fraction(stream.sample_aspect_ratio or 1)
        duration = seconds(container, stream)
        return VideoInfo(
            width=sides[turned],
            height=sides[not turned],
            fps=rate_of(stream),
            frames=stream.frames or round(duration * rate_of(stream)),
            duration=float(duration),
            codec=stream.codec_context.codec.canonical_name,
            pixel_format=frame.format.name,
            depth=layout.depth,
            alpha=layout.alpha,
            colour=colour_of(frame, layout, stream.codec_context),
            sample_aspect_ratio=1 / ratio if turned else ratio,
            rotation=frame.rotation % 360,
            audio=tuple(
                AudioInfo(
                    audio.codec_context.codec.canonical_name, audio.codec_context.channels, audio.codec_context.sample_rate, audio.language
                )
                for audio in container.streams.audio
                if audio.codec_context is not None
            ),
            subtitles=tuple(one.codec_context.codec.canonical_name for one in container.streams.subtitles if one.codec_context is not None),
            attachments=sum(one.type == "attachment" for one in container.streams),
        )
