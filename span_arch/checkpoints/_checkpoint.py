"""What a reader gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..archs._normalisation import Normalisation


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a file, not yet taken for any architecture."""

    path: Path
    container: str
    """The format in words, such as ``safetensors``."""
    state: Mapping[str, Any]
    """Tensors by attribute path. Readers may leave wrappers in; `read` takes them off."""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the file says of itself, where its container has room for that."""
    normalisation: Normalisation | str | None = "unstated"
    """What the file states of normalisation: a setting, None for none, or ``"unstated"``."""
