"""PyTorch's own container: a pickle, in a zip archive or, before PyTorch 1.6, bare."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import torch

from .._util.process import ignored_warnings
from .._util.text import first_line
from ..errors import BrokenCheckpointError, CheckpointError, UnsafeCheckpointError
from .checkpoint import Checkpoint
from .pickle_scan import PickleBombError, foreign_names

_MAX_RATIO = 16
"""How much larger than the file the contents of an archive may be. PyTorch does not compress, and weights hardly compress."""

_SMALL = 64 << 20
"""Bytes that the contents of an archive may have in any case."""


def read_pickled(path: Path) -> Checkpoint:
    """Read tensors onto the CPU. Nothing but tensors and plain containers is ever unpickled.

    Raises:
        UnsafeCheckpointError: the pickle names a function or class that no state dict needs, or is made to fill memory.
        BrokenCheckpointError: the file is truncated, or is not a pickle.
        CheckpointError: the file is a TorchScript program.
    """
    try:
        names = sorted({name for data in _pickles(path) for name in foreign_names(data)})
    except CheckpointError:
        raise
    except PickleBombError as error:
        raise UnsafeCheckpointError(
            f"{path} is a pickle bomb: a tuple that is small in the file would fill the memory. None of it was run. Do not trust the "
            "file: get the network from its author."
        ) from error
    except Exception as error:  # a damaged archive or opcode may raise anything
        raise _broken(path, error) from error
    if names:
        raise UnsafeCheckpointError(
            f"{path} is a pickle that uses {', '.join(names[:8])}, but weights need only tensors. None of it was run. Do not "
            "trust the file: get the network from its author, as safetensors if possible."
        )
    try:
        with ignored_warnings():  # torch warns about some pickles before it refuses them
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler may raise anything on damage
        raise _broken(path, error) from error
    return Checkpoint(path, "PyTorch pickle", state)


def _pickles(path: Path) -> list[bytes]:
    """Return the pickles in a file without loading them."""
    with path.open("rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"  # PyTorch's own test; Python accepts an archive that begins anywhere
    if not zipped:
        if tarfile.is_tarfile(path):  # from before PyTorch 0.1.10; some versions unpickle its members without any check
            raise ValueError("a tar archive")
        return [path.read_bytes()]
    with zipfile.ZipFile(path) as archive:
        size, unpacked = path.stat().st_size, sum(member.file_size for member in archive.infolist())
        if unpacked > max(_MAX_RATIO * size, _SMALL):
            raise UnsafeCheckpointError(
                f"{path} is an archive of {size:,} bytes that unpacks to {unpacked:,}, unlike any checkpoint. Nothing was unpacked. Do not "
                "trust the file: get the network from its author."
            )
        names = archive.namelist()
        if min((member.header_offset for member in archive.infolist()), default=0) != 0:
            raise ValueError("an archive within another file")
        if any(name.endswith("/constants.pkl") for name in names):
            raise CheckpointError(
                f"{path} is a TorchScript program, and reading it would mean running it. Ask its author for the state dict, or save one "
                "from it with torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')."
            )
        if len({name.lower() for name in names}) < len(names):  # PyTorch ignores case, and takes the other one of two
            raise ValueError("an archive with two members of one name")
        return [archive.read(name) for name in names if name.lower().endswith(".pkl")]


def _broken(path: Path, error: Exception) -> BrokenCheckpointError:
    return BrokenCheckpointError(
        f"{path} ({path.stat().st_size:,} bytes) cannot be read as a PyTorch file: {first_line(error)[:200]}. The download was probably "
        "interrupted, or the file is of another kind. Download it again."
    )
