"""Files to state dicts and back: one reader and one writer per container.

The containers, by their usual suffix:

=============================  ==========================================================
``.safetensors``, ``.sft``     tensors and a little metadata
``.pth``, ``.pt``, ``.ckpt``   pickles of PyTorch; only their tensors are read
``.param`` with ``.bin``       an ncnn pair: the graph as text, and the weights
``.onnx``                      a graph with its weights
=============================  ==========================================================
"""

from __future__ import annotations

from pathlib import Path

from .._util.text import join_words
from ..errors import CheckpointError, CheckpointNotFoundError
from .checkpoint import Checkpoint
from .clean import keep_tensors
from .ncnn_reader import read_ncnn
from .onnx_reader import read_onnx
from .pickle_reader import read_pickled
from .safetensors_file import read_safetensors
from .sniff import explain, recognise

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
    """Read a checkpoint. Its content shows the container, or else its suffix. Nothing in the file is executed.

    Raises:
        CheckpointNotFoundError: the file does not exist.
        BrokenCheckpointError: the file is damaged, or not a checkpoint.
        UnsafeCheckpointError: the file is a pickle that needs more than tensors.
        CheckpointError: the suffix is not in `SUFFIXES`, or the file cannot be opened.
    """
    if not path.exists():
        raise CheckpointNotFoundError(f"The file {path} does not exist. Check its name and folder.")
    if path.suffix.lower() not in _READERS or not path.is_file():
        found = f"has the suffix '{path.suffix}'" if path.is_file() else "is a folder"
        raise CheckpointError(f"{path} {found}. Choose a file that ends in {join_words(SUFFIXES)}.")
    try:
        explain(path)
        return keep_tensors(_READERS[recognise(path) or path.suffix.lower()](path))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be opened: {error.strerror or error}. Check its permissions.") from error
