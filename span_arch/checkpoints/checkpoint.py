"""The type that all readers return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ..archs.bounds import Limits
from ..archs.normalisation import Normalisation
from .exported_graph import Graph


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a file, before its architecture is known."""

    path: Path
    container: str
    """The format in words, such as ``safetensors``."""
    state: Mapping[str, Any]
    """Tensors by attribute path. Readers may leave wrappers, which `read` removes. Empty if a graph has lost the names."""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    """The texts that the file states about itself."""
    normalisation: Normalisation | str | None = "unstated"
    """The normalisation that the file states, None if it states that there is none, or ``"unstated"``."""
    limits: Limits | None = None
    """The limits on activations that the file states, None if it does not."""
    graph: Graph | None = None
    """The graph, if the container has one."""
    precision: str = ""
    """The type of the weights in the file, such as ``float16``, if the reader has made float32 of them."""
    groups: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict[str, Mapping[str, Tensor]])
    """All tensors, by the path of the dict that holds them, such as ``params_ema`` or an empty text, and by their key in it."""
