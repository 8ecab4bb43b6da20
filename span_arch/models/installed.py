"""The folders where a user keeps models, and the files in them. This module needs no torch."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .._util.text import join_words
from ..errors import CheckpointNotFoundError
from .catalogue import WEIGHTS, KnownModel, file_sha256, known_models

VARIABLE = "SPAN_MODELS"
"""The environment variable with the user's folders, separated as in ``PATH``."""

MODEL_SUFFIXES = (".safetensors", ".sft", ".pth", ".pt", ".ckpt", ".onnx", ".param")
"""The suffixes of files that hold a model."""


@dataclass(frozen=True)
class InstalledFile:
    """A file in one of the user's folders."""

    path: Path
    known: KnownModel | None
    """The known model that the file holds. None if its checksum is not in the catalogue."""


def model_folders(given: Sequence[Path] = ()) -> tuple[Path, ...]:
    """Return the user's model folders: those given, else those of ``SPAN_MODELS``, else the default folder. They may not exist."""
    if given:
        return tuple(given)
    named = tuple(Path(folder).expanduser() for folder in os.environ.get(VARIABLE, "").split(os.pathsep) if folder.strip())
    return named or (default_folder(),)


def default_folder() -> Path:
    """Return the folder for models in the user's data folder of this system."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME", "") or Path.home() / ".local" / "share"
    return Path(base) / "span-upscale" / "models"


def find_installed(folders: Sequence[Path], models: Sequence[KnownModel] | None = None) -> Iterator[InstalledFile]:
    """Yield the files that may hold a model, in the folders and the folders within, sorted by path.

    Only files with the size of a known file are read. Files that disappear or cannot be read are left out.

    Args:
        folders: where to search. Folders that do not exist are ignored.
        models: the models to recognise; by default, all known ones.
    """
    models = known_models() if models is None else models
    by_content = {(file.size, file.sha256): model for model in models for file in model.files}
    sizes = {size for size, _ in by_content}
    for path in sorted({path for folder in folders for path in folder.rglob("*")}):
        try:
            if not path.is_file():
                continue
            size = path.stat().st_size
            known = by_content.get((size, file_sha256(path))) if size in sizes else None
        except OSError:
            continue
        if known is not None or (path.suffix.lower() in MODEL_SUFFIXES and not path.name.startswith(".")):
            yield InstalledFile(path, known)


def locate(model: KnownModel, folders: Sequence[Path]) -> Path | None:
    """Return the path of a known model in the folders, under whatever name, or None. Built-in networks are in the package."""
    if model.builtin:
        return WEIGHTS / model.file_name
    return next((file.path for file in find_installed(folders, [model]) if file.known is model), None)


def require_installed(model: KnownModel, folders: Sequence[Path]) -> Path:
    """Return the path of a known model in the folders.

    Raises:
        CheckpointNotFoundError: it is not there. The message says where to get it.
    """
    if (path := locate(model, folders)) is not None:
        return path
    raise CheckpointNotFoundError(
        f"{model.name} is a known model, but it is not installed in {join_words(folders)}. {model.where_to_get(folders[0])}"
    )
