"""Fingerprints of the source, model and settings of a video, which show whether segments belong together."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path

from ..engine.settings import Settings
from ..models.build import Model, adopt
from ..models.describe import describe
from .codecs import VideoSettings
from .source import Source

Fingerprint = Mapping[str, Mapping[str, str]]
"""Values by group and name."""

_SAMPLES, _SAMPLE = 16, 1 << 16
"""The number of samples of a large file, and their size in bytes."""


def fingerprint_of(model: Model, source: Source, settings: Settings, video: VideoSettings, *, start: float, duration: float) -> Fingerprint:
    """Return the fingerprint of an upscale. Arguments are as in `upscale_video`."""
    return {
        "source": _source_values(source),
        "model": _model_values(model),
        "settings": {field.name: repr(getattr(settings, field.name)) for field in fields(settings)},
        "video settings": {field.name: repr(getattr(video, field.name)) for field in fields(video)},
        "window": {"start": repr(float(start)), "duration": repr(float(duration))},
    }


def differences(before: Fingerprint, now: Fingerprint) -> list[str]:
    """Describe where two fingerprints differ."""
    return [
        f"{group} {name} was {before.get(group, {}).get(name, 'unknown')} and is {value}"
        for group, values in now.items()
        for name, value in values.items()
        if before.get(group, {}).get(name) != value
    ]


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file; empty if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()


def _model_values(model: Model) -> dict[str, str]:
    """Return facts about a model and its weights, since not every model knows its file."""
    ours, digest = adopt(model), hashlib.sha256()
    for key, tensor in ours.model.state_dict().items():
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().float().contiguous().numpy().tobytes())
    info = describe(ours)
    return {"architecture": info.architecture, "scale": str(info.scale), "normalisation": info.normalisation, "weights": digest.hexdigest()}


def _source_values(source: Source) -> dict[str, str]:
    """Return size and samples of a file, because reading a whole film takes minutes. Changed videos differ in these."""
    digest = hashlib.sha256()
    with Path(source).open("rb") if isinstance(source, (str, Path)) else nullcontext(source) as file:
        size = file.seek(0, os.SEEK_END)
        for number in range(_SAMPLES):
            file.seek(max(0, size - _SAMPLE) * number // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE))
    return {"size": str(size), "content": digest.hexdigest()}
