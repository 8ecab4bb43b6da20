"""What a reader gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..archs.normalisation import Normalisation
from .exported_graph import Graph


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a file, not yet taken for any architecture."""

    path: Path
    container: str
    """The format in words, such as ``safetensors``."""
    state: Mapping[str, Any]
    """Tensors by attribute path. Readers may leave wrappers in; `read` takes them off. Empty where a graph has lost its names."""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the file says of itself, where its container has room for that."""
    normalisation: Normalisation | str | None = "unstated"
    """What the file states of normalisation: a setting, None for none, or ``"unstated"``."""
    graph: Graph | None = None
    """What the file says that is to be computed, where its container does."""
    precision: str = ""
    """Type of the weights in the file, such as ``float16``, where the reader has made float32 of them."""
