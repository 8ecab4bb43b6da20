"""The names and files of models. This module needs no torch."""

from __future__ import annotations

from pathlib import Path

from .._util.text import join_words
from ..errors import CheckpointNotFoundError
from .catalogue import WEIGHTS, find_known, similar_names
from .installed import MODEL_SUFFIXES, model_folders, require_installed


def builtin_names() -> tuple[str, ...]:
    """Return the sorted names of the built-in networks."""
    return tuple(sorted(file.stem for file in WEIGHTS.glob("*.safetensors")))


def find_model(name_or_path: str | Path) -> Path:
    """Return the file of a built-in network, the path itself if it leads to anything, or the installed file of a known model.

    Raises:
        CheckpointNotFoundError: there is no such file or model. For a known model, the message says where to get it.
    """
    path = Path(name_or_path)
    if str(name_or_path) in builtin_names():
        return WEIGHTS / f"{name_or_path}.safetensors"
    if path.exists():
        return path
    if (known := find_known(str(name_or_path))) is not None:
        if path.suffix.lower() not in MODEL_SUFFIXES:
            return require_installed(known, model_folders())
        if not known.builtin:
            raise CheckpointNotFoundError(
                f"The file {path} does not exist. It has the name of {known.name}, a known model. {known.where_to_get(path.parent)}"
            )
    if path.suffix:
        raise CheckpointNotFoundError(f"The file {path} does not exist. Check its name and folder.")
    similar = similar_names(str(name_or_path))
    raise CheckpointNotFoundError(
        f"{name_or_path} is neither a file, nor a built-in network, nor a known model. "
        + (f"Did you mean {join_words(similar)}?" if similar else f"Choose a file, or one of {join_words(builtin_names())}.")
    )
