"""The safetensors container, read and written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import BrokenCheckpointError
from .checkpoint import Checkpoint
from .model_metadata import limits_in, normalisation_in

_LONGEST_HEADER = 8 << 20
"""Bytes. A tensor needs about a hundred, and the largest networks have some thousand tensors."""


def read_safetensors(path: Path) -> Checkpoint:
    """Read tensors and metadata.

    Raises:
        BrokenCheckpointError: the header or the tensors are not valid.
    """
    with path.open("rb") as start:
        header = int.from_bytes(start.read(8), "little")
    if header > _LONGEST_HEADER:
        raise BrokenCheckpointError(
            f"{path} is not a valid safetensors file: it announces a header of {header:,} bytes, and that of a network has a few thousand. "
            "The file is damaged or of another kind: get it again from its source."
        )
    try:
        opened: Any = safe_open(str(path), framework="pt")  # it has no types
        with opened as file:
            metadata: dict[str, str] = file.metadata() or {}
            state: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    except SafetensorError as error:
        raise BrokenCheckpointError(
            f"{path} ({path.stat().st_size:,} bytes) is not a valid safetensors file: {error}. The download was probably interrupted: "
            "download the file again."
        ) from error
    return Checkpoint(path, "safetensors", state, metadata, normalisation_in(path, metadata), limits_in(path, metadata))


def write_safetensors(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and metadata. The same input gives the same file, byte for byte."""
    data = save({key: tensor.contiguous() for key, tensor in state.items()}, {"format": "pt", **metadata})
    # The library writes the metadata in random order, so it is sorted here
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    ordered = dict(sorted(header.pop("__metadata__").items()))
    text = json.dumps({"__metadata__": ordered, **header}, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the format aligns tensors to 8 bytes
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[start:])
