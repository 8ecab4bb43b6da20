"""How a video is to be written: codecs, their encoders, and the containers that hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import OptionError

AUTO = "auto"


@dataclass(frozen=True)
class VideoSettings:
    """How a video is to be written."""

    codec: str = "h264"
    """One of `CODECS`; or ``auto``: H.264 (in .webm AV1), by an encoder in hardware if there is one that takes this video."""
    quality: float | None = None
    """The constant rate factor, in steps of the codec; lower is better and larger. None is a good default. Not for prores and ffv1."""
    preset: str | None = None
    """How long the encoder may think, in its own words, such as ``slow`` for h264 or ``4`` for av1. None is its default."""
    pixel_format: str | None = None
    """As FFmpeg has it, such as ``yuv420p``. None is that of the source or, where the codec has it not, the one that keeps most of it."""


@dataclass(frozen=True)
class Encoder:
    """One of FFmpeg's encoders, and how it is spoken to."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    quality: str | None = None
    """The option that says the quality; None if there is none to say."""
    default_quality: float = 0
    worst_quality: float = 51
    preset: str | None = None
    """The option that says the preset."""
    default_preset: str | None = None
    odd_sizes: bool = False
    """Whether it takes chroma of half the resolution where a side is odd."""
    odd_options: Mapping[str, str] = field(default_factory=dict[str, str])
    """What it is told beside, if one is."""
    smallest_side: int = 1
    """In pixels."""


_X264 = Encoder("libx264", quality="crf", default_quality=16, preset="preset")
_AV1 = Encoder("libsvtav1", quality="crf", default_quality=20, worst_quality=63, preset="preset", default_preset="6")

CODECS: Mapping[str, Encoder] = {
    "h264": _X264,
    # x265 writes outside of its memory if both sides are shorter than one of its blocks
    "hevc": Encoder("libx265", {"x265-params": "log-level=error"}, "crf", 18, preset="preset", smallest_side=64),
    "av1": _AV1,
    "vp9": Encoder("libvpx-vp9", {"row-mt": "1"}, "crf", 22, 63, preset="cpu-used", default_preset="3", odd_sizes=True),
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
"""What a user may ask for. Those of VA-API take frames that are in the memory of the GPU already, and are left out."""

_CONTAINERS: Mapping[str, tuple[str, ...]] = {
    ".mp4": ("h264", "hevc", "av1", "vp9"),
    ".m4v": ("h264", "hevc"),
    ".mov": ("h264", "hevc", "prores"),
    ".mkv": ("h264", "hevc", "av1", "vp9", "prores", "ffv1"),
    ".webm": ("av1", "vp9"),
}
"""What each container holds, by the suffix of its files."""

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}


def container_format(path: Path) -> str:
    """What FFmpeg calls the container of a file that is to be written.

    Raises:
        OptionError: its suffix is none that is known.
    """
    if (known := _FORMATS.get(path.suffix.lower())) is None:
        raise OptionError(f"'{path.name}' does not end in a suffix of a video that can be written; expected one of {', '.join(_FORMATS)}.")
    return known


def encoders(path: Path, settings: VideoSettings) -> tuple[Encoder, ...]:
    """The encoders to try for a file, the one that is always there last.

    Raises:
        OptionError: the codec is not known, the container does not hold it, or the quality is out of its range.
    """
    container_format(path)
    suffix = path.suffix.lower()
    if settings.codec == AUTO:
        names = ("av1",) if suffix == ".webm" else ("h264_nvenc", "h264_videotoolbox", "h264_qsv", "h264")
    elif settings.codec in CODECS:
        names = (settings.codec,)
    else:
        raise OptionError(f"The codec '{settings.codec}' is not known; expected one of {', '.join((AUTO, *CODECS))}.")
    family, held = names[-1].split("_")[0], _CONTAINERS[suffix]
    if family not in held:
        others = ", ".join(other for other, codecs in _CONTAINERS.items() if family in codecs)
        raise OptionError(f"Files of {suffix} do not hold {family}, but {', '.join(held)}; for {family}, choose one of {others}.")
    found = tuple(CODECS[name] for name in names)
    _check_quality(settings, found[-1])
    return found


def options(encoder: Encoder, settings: VideoSettings, *, width: int, height: int) -> dict[str, str]:
    """What FFmpeg is to be told. A quality or a preset is meant for the encoder in software: others that stand in have defaults."""
    told = {**encoder.options, **(encoder.odd_options if width % 2 or height % 2 else {})}
    ours = settings.codec != AUTO or encoder in (_X264, _AV1)
    if encoder.quality is not None:
        told[encoder.quality] = f"{settings.quality if ours and settings.quality is not None else encoder.default_quality:g}"
    preset = settings.preset if ours and settings.preset is not None else encoder.default_preset
    if preset is not None and encoder.preset is not None:
        told[encoder.preset] = preset
    if encoder.name == "libvpx-vp9":
        told["b"] = "0"  # else its quality is only a bound
    return told


def _check_quality(settings: VideoSettings, encoder: Encoder) -> None:
    if settings.preset is not None and encoder.preset is None:
        raise OptionError(f"{settings.codec} has no presets to choose from, and '{settings.preset}' was asked for; leave it out.")
    if settings.quality is None:
        return
    if encoder.quality is None:
        raise OptionError(f"{settings.codec} has no quality to choose, and {settings.quality:g} was asked for; leave it out.")
    if not 0 <= settings.quality <= encoder.worst_quality:
        raise OptionError(
            f"The quality is {settings.quality:g}; expected 0 to {encoder.worst_quality:g} for {settings.codec}, where lower is better."
        )
