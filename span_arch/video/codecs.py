"""Codecs, the encoders that write them, and the containers that hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .._util.text import join_words
from ..errors import OptionError

AUTO = "auto"


@dataclass(frozen=True)
class VideoSettings:
    """How to write a video."""

    codec: str = "h264"
    """One of `CODECS`, or ``auto``: H.264 (AV1 in .webm), encoded in hardware if an encoder there accepts the video."""
    quality: float | None = None
    """Constant rate factor on the codec's own scale; lower is better and larger. None: a good default. prores and ffv1 have none."""
    preset: str | None = None
    """Trade-off of speed and size in the encoder's own terms, such as ``slow`` for h264 or ``4`` for av1. None: the encoder's default."""
    pixel_format: str | None = None
    """FFmpeg's name, such as ``yuv420p``. None: the source's, or the one closest to it that the codec offers."""


@dataclass(frozen=True)
class Encoder:
    """One of FFmpeg's encoders, and its options."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    quality: str | None = None
    """The name of the quality option; None if there is none."""
    default_quality: float = 0
    worst_quality: float = 51
    preset: str | None = None
    """The name of the preset option; None if there is none."""
    default_preset: str | None = None
    odd_sizes: bool = False
    """Subsampled chroma works with odd sides."""
    odd_options: Mapping[str, str] = field(default_factory=dict[str, str])
    """Further options for frames with an odd side."""
    smallest_side: int = 1
    """In pixels."""


_X264 = Encoder("libx264", quality="crf", default_quality=16, preset="preset")
_AV1 = Encoder("libsvtav1", quality="crf", default_quality=20, worst_quality=63, preset="preset", default_preset="6")

CODECS: Mapping[str, Encoder] = {
    "h264": _X264,
    # x265 writes outside of its memory if both sides are shorter than one of its blocks
    "hevc": Encoder("libx265", {"x265-params": "log-level=error"}, "crf", 18, preset="preset", smallest_side=64),
    "av1": _AV1,
    # without a bit rate of 0, the quality of VP9 is only a bound
    "vp9": Encoder("libvpx-vp9", {"row-mt": "1", "b": "0"}, "crf", 22, 63, preset="cpu-used", default_preset="3", odd_sizes=True),
    "prores": Encoder("prores_ks", {"vendor": "apl0"}),
    # FFmpeg 7 loses chroma at the edges of slices where a side is odd
    "ffv1": Encoder("ffv1", {"level": "3", "slicecrc": "1"}, odd_sizes=True, odd_options={"slices": "1"}),
    "h264_nvenc": Encoder("h264_nvenc", {"rc": "vbr", "b": "0"}, "cq", 19, preset="preset"),
    "hevc_nvenc": Encoder("hevc_nvenc", {"rc": "vbr", "b": "0"}, "cq", 21, preset="preset"),
    "h264_qsv": Encoder("h264_qsv", {}, "global_quality", 18, preset="preset"),
    "hevc_qsv": Encoder("hevc_qsv", {}, "global_quality", 20, preset="preset"),
    "h264_videotoolbox": Encoder("h264_videotoolbox"),
    "hevc_videotoolbox": Encoder("hevc_videotoolbox"),
}
"""The codecs that users choose from. VA-API is missing because its encoders only accept frames in the memory of the GPU."""

_CONTAINERS: Mapping[str, tuple[str, ...]] = {
    ".mp4": ("h264", "hevc", "av1", "vp9"),
    ".m4v": ("h264", "hevc"),
    ".mov": ("h264", "hevc", "prores"),
    ".mkv": ("h264", "hevc", "av1", "vp9", "prores", "ffv1"),
    ".webm": ("av1", "vp9"),
}
"""The codecs that each container holds, by file suffix."""

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}


def container_format(path: Path) -> str:
    """Return FFmpeg's name for the container of a file to write. Raise OptionError if the suffix is unknown."""
    if (known := _FORMATS.get(path.suffix.lower())) is None:
        raise OptionError(f"The suffix of {path.name} is not that of a video that can be written. Expected {join_words(list(_FORMATS))}.")
    return known


def encoders(path: Path, settings: VideoSettings) -> tuple[Encoder, ...]:
    """Return the encoders to try for a file, with one that is always available last.

    Raises:
        OptionError: the codec is unknown, the container does not hold it, or the quality or preset is invalid.
    """
    container_format(path)
    suffix = path.suffix.lower()
    if settings.codec == AUTO:
        names = ("av1",) if suffix == ".webm" else ("h264_nvenc", "h264_videotoolbox", "h264_qsv", "h264")
    elif settings.codec in CODECS:
        names = (settings.codec,)
    else:
        raise OptionError(f"The codec {settings.codec} is unknown. Expected {join_words((AUTO, *CODECS))}.")
    family, held = names[-1].split("_")[0], _CONTAINERS[suffix]
    if family not in held:
        others = [other for other, codecs in _CONTAINERS.items() if family in codecs]
        raise OptionError(f"{suffix} files cannot hold {family}, only {join_words(held)}. Use {join_words(others)} for {family}.")
    candidates = tuple(CODECS[name] for name in names)
    _check_quality(settings, candidates[-1])
    return candidates


def encoder_options(encoder: Encoder, settings: VideoSettings, *, width: int, height: int) -> dict[str, str]:
    """Return the options for FFmpeg. A user's quality and preset apply to software encoders only if the codec is ``auto``."""
    options = {**encoder.options, **(encoder.odd_options if width % 2 or height % 2 else {})}
    is_meant = settings.codec != AUTO or encoder in (_X264, _AV1)
    if encoder.quality is not None:
        options[encoder.quality] = f"{settings.quality if is_meant and settings.quality is not None else encoder.default_quality:g}"
    preset = settings.preset if is_meant and settings.preset is not None else encoder.default_preset
    if preset is not None and encoder.preset is not None:
        options[encoder.preset] = preset
    return options


def _check_quality(settings: VideoSettings, encoder: Encoder) -> None:
    if settings.preset is not None and encoder.preset is None:
        raise OptionError(f"The preset {settings.preset} cannot be used because {settings.codec} has no presets. Leave it out.")
    if settings.quality is None:
        return
    if encoder.quality is None:
        raise OptionError(f"The quality {settings.quality:g} cannot be used because {settings.codec} has no quality setting. Leave it out.")
    if not 0 <= settings.quality <= encoder.worst_quality:
        raise OptionError(
            f"The quality is {settings.quality:g}. Expected 0 to {encoder.worst_quality:g} for {settings.codec}, where lower is better."
        )
