"""The files of models, and the names of the built-in networks. Importing this costs no torch."""

from __future__ import annotations

from pathlib import Path

from .._util.text import join_words
from ..errors import CheckpointNotFoundError

WEIGHTS = Path(__file__).parents[1] / "weights"


def builtin_names() -> tuple[str, ...]:
    """Return the sorted names of the built-in networks."""
    return tuple(sorted(file.stem for file in WEIGHTS.glob("*.safetensors")))


def find_model(name_or_path: str | Path) -> Path:
    """Return the file of a built-in network, or the path itself if it leads to anything.

    Raises:
        CheckpointNotFoundError: there is neither such a network nor such a file.
    """
    path = Path(name_or_path)
    if str(name_or_path) in builtin_names():
        return WEIGHTS / f"{name_or_path}.safetensors"
    if path.exists():
        return path
    if path.suffix:
        raise CheckpointNotFoundError(f"The file {path} does not exist. Check its name and folder.")
    raise CheckpointNotFoundError(
        f"{name_or_path} is neither a file nor a built-in network. Choose a file, or one of {join_words(builtin_names())}."
    )
