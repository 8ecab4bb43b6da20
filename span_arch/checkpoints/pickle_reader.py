"""PyTorch's own container: a pickle, in a zip archive or, before PyTorch 1.6, bare."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import torch

from .._util.process import ignored_warnings
from ..errors import BrokenCheckpointError, CheckpointError, UnsafeCheckpointError
from .checkpoint import Checkpoint
from .pickle_scan import PickleBombError, strangers

_MOST_TIMES = 16
"""How many times larger than its file the contents of an archive may be. PyTorch does not compress, and weights hardly can be."""

_SMALL = 64 << 20
"""Bytes that an archive may have in any case."""


def read_pickled(path: Path) -> Checkpoint:
    """Reads tensors, onto the CPU wherever they were saved from. Nothing but tensors and plain containers is ever unpickled.

    Raises:
        UnsafeCheckpointError: the pickle names a function or class that a state dict has no need of, or it is made to fill memory.
        BrokenCheckpointError: it is truncated, or no pickle at all.
        CheckpointError: it is a TorchScript program.
    """
    try:
        names = sorted({name for data in _pickles(path) for name in strangers(data)})
    except CheckpointError:
        raise
    except PickleBombError as error:
        raise UnsafeCheckpointError(
            f"'{path}' is a pickle bomb: it has a tuple that is small in the file and endless in memory. Nothing of it was run. Do not "
            "trust the file: get the network from its author."
        ) from error
    except Exception as error:  # whatever damage makes of archives and opcodes
        raise _broken(path, error) from error
    if names:
        raise UnsafeCheckpointError(
            f"'{path}' is a pickle that wants to use {', '.join(names[:8])}; a file of weights needs only tensors. Nothing of it "
            "was run. Do not trust the file: get the network from its author, as safetensors if there is one."
        )
    try:
        with ignored_warnings():  # torch warns of some pickles that it then rejects, and the error below covers those
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler meets damage in as many ways as there are
        raise _broken(path, error) from error
    return Checkpoint(path, "PyTorch pickle", state)


def _pickles(path: Path) -> list[bytes]:
    """The pickles in a file, none of them loaded."""
    with path.open("rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"  # by which PyTorch tells; Python is content with an archive that begins anywhere
    if not zipped:
        if tarfile.is_tarfile(path):  # of before PyTorch 0.1.10; some versions would unpickle its members without any care
            raise ValueError("a tar archive")
        return [path.read_bytes()]
    with zipfile.ZipFile(path) as archive:
        size, unpacked = path.stat().st_size, sum(member.file_size for member in archive.infolist())
        if unpacked > max(_MOST_TIMES * size, _SMALL):
            raise UnsafeCheckpointError(
                f"'{path}' is an archive of {size:,} bytes that unpacks to {unpacked:,}: no file of weights does. Nothing was unpacked. Do "
                "not trust the file: get the network from its author."
            )
        names = archive.namelist()
        if min((member.header_offset for member in archive.infolist()), default=0) != 0:
            raise ValueError("an archive within another file")
        if any(name.endswith("/constants.pkl") for name in names):
            raise CheckpointError(
                f"'{path}' is a TorchScript program, which would have to be run to be read. Ask its author for the state dict, "
                "or save one from it: torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')."
            )
        if len({name.lower() for name in names}) < len(names):  # PyTorch finds members whatever their case, and of two the other
            raise ValueError("an archive with two members of one name")
        return [archive.read(name) for name in names if name.lower().endswith(".pkl")]


def _broken(path: Path, error: Exception) -> BrokenCheckpointError:
    reason = str(error).strip().splitlines() or [type(error).__name__]
    return BrokenCheckpointError(
        f"'{path}' cannot be read as a PyTorch file ({reason[0][:200]}); {path.stat().st_size:,} bytes are here. Most often a download "
        "broke off, or the file is of another kind and was renamed: download it again."
    )
