"""Files in, state dicts out, and back: one module per container.

The containers, by suffix:

=============================  ==========================================================
``.safetensors``, ``.sft``     tensors and a little metadata
``.pth``, ``.pt``, ``.ckpt``   pickles of PyTorch, of which only the tensors are ever read
``.param`` with ``.bin``       an ncnn pair: the graph as text, and the weights
``.onnx``                      a graph with its weights
=============================  ==========================================================
"""

from __future__ import annotations

from pathlib import Path

from ..errors import CheckpointError, CheckpointNotFoundError
from .checkpoint import Checkpoint
from .clean import clean
from .ncnn_reader import read_ncnn
from .onnx_reader import read_onnx
from .pickle_reader import read_pickled
from .safetensors_file import read_safetensors
from .sniff import explain

__all__ = ["SUFFIXES", "Checkpoint", "read"]

_READERS = {
    ".safetensors": read_safetensors,
    ".sft": read_safetensors,
    ".pth": read_pickled,
    ".pt": read_pickled,
    ".ckpt": read_pickled,
    ".param": read_ncnn,
    ".bin": read_ncnn,
    ".onnx": read_onnx,
}

SUFFIXES = tuple(_READERS)
"""The suffixes of files that `read` takes, in lower case."""


def read(path: Path) -> Checkpoint:
    """Reads a checkpoint of whatever container its suffix names. Nothing that the file holds is run.

    Raises:
        CheckpointNotFoundError: there is no such file.
        BrokenCheckpointError: it is not what its suffix says.
        UnsafeCheckpointError: it is a pickle that asks for more than tensors.
        CheckpointError: its suffix is none of `SUFFIXES`, or it cannot be opened.
    """
    reader = _READERS.get(path.suffix.lower())
    if not path.exists():
        raise CheckpointNotFoundError(f"There is no file '{path}'. Check the name and the folder.")
    if reader is None or not path.is_file():
        found = f"the suffix '{path.suffix}'" if path.is_file() else "a folder"
        raise CheckpointError(f"'{path}' is {found}; expected a file that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}.")
    try:
        explain(path)
        return clean(reader(path))
    except OSError as error:
        raise CheckpointError(f"'{path}' cannot be opened: {error.strerror or error}. Check its permissions.") from error
