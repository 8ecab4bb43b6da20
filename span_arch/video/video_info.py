"""Facts about a video, found without decoding more than one frame."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ._av import codec_of
from .colour import Colour
from .frames import colour_of, layout_of
from .source import Source, duration_of, first_frame, frame_rate_of, name_of, opened, video_stream


@dataclass(frozen=True)
class AudioInfo:
    """An audio stream."""

    codec: str
    channels: int
    sample_rate: int
    """Samples per second."""
    language: str | None


@dataclass(frozen=True)
class VideoInfo:
    """A video, described."""

    width: int
    """Size of a frame in pixels as displayed, that is, after `rotation`."""
    height: int
    fps: Fraction
    """Average frames per second."""
    frames: int
    """Number of frames in the container, or an estimate from `duration`; 0 if unknown."""
    duration: float
    """In seconds; 0 if unknown."""
    codec: str
    pixel_format: str
    """FFmpeg's name, such as ``yuv420p``."""
    depth: int
    """Bits of a sample."""
    alpha: bool
    colour: Colour
    sample_aspect_ratio: Fraction
    """Width of a pixel divided by its height, as displayed."""
    rotation: int
    """Degrees by which players turn the frames anticlockwise."""
    audio: tuple[AudioInfo, ...]
    subtitles: tuple[str, ...]
    """The codec of each subtitle stream."""
    attachments: int

    def frames_in(self, start: float, duration: float) -> int:
        """Estimate the number of frames in a window from its start and duration (0: to the end) in seconds; 0 if unknown."""
        if not start and not duration:
            return self.frames
        left = -start if start < 0 else self.duration - start
        return max(0, round(float(self.fps) * (min(duration, left) if duration else left)))


def probe(source: Source) -> VideoInfo:
    """Describe a video from its container and its first frame.

    Args:
        source: a path, or a binary file in memory, which is read from its start.

    Raises:
        MissingExtraError: PyAV is not installed.
        VideoError: the source is not a video, it has no frame that can be decoded, or its pixel format or colours are not supported.
    """
    name = name_of(source)
    with opened(source) as container:
        stream = video_stream(container, name)
        frame = first_frame(container, stream, name)
        layout, turned = layout_of(frame), frame.rotation % 180 != 0
        sides, ratio = (frame.width, frame.height), Fraction(stream.sample_aspect_ratio or 1)
        duration, rate, audio = duration_of(container, stream), frame_rate_of(stream), container.streams.audio
        return VideoInfo(
            width=sides[turned],
            height=sides[not turned],
            fps=rate,
            frames=stream.frames or round(duration * rate),
            duration=float(duration),
            codec=stream.codec_context.codec.canonical_name,
            pixel_format=frame.format.name,
            depth=layout.depth,
            alpha=layout.alpha,
            colour=colour_of(frame, layout, stream.codec_context),
            sample_aspect_ratio=1 / ratio if turned else ratio,
            rotation=frame.rotation % 360,
            audio=tuple(AudioInfo(codec, one.channels, one.sample_rate, one.language) for one in audio if (codec := codec_of(one))),
            subtitles=tuple(codec for one in container.streams.subtitles if (codec := codec_of(one))),
            attachments=sum(one.type == "attachment" for one in container.streams),
        )
