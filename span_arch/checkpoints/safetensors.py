"""The safetensors container."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import BrokenCheckpointError
from ._checkpoint import Checkpoint
from .metadata import normalisation_in


def read_safetensors(path: Path) -> Checkpoint:
    """Reads tensors and metadata.

    Raises:
        BrokenCheckpointError: the header or the tensors are not as the format wants them.
    """
    try:
        opened: Any = safe_open(str(path), framework="pt")  # it has no types
        with opened as file:
            metadata: dict[str, str] = file.metadata() or {}
            state: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise BrokenCheckpointError(
            f"'{path}' is no whole safetensors file: {error}. Most often a download broke off ({path.stat().st_size:,} bytes are here): "
            "download it again."
        ) from error
    return Checkpoint(path, "safetensors", state, metadata, normalisation_in(path, metadata))
