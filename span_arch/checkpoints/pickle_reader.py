"""PyTorch's own container: a pickle, in a zip archive or, before PyTorch 1.6, bare."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch

from .._util.process import ignored_warnings
from .._util.text import first_line
from ..errors import BrokenCheckpointError, UnsafeCheckpointError
from .checkpoint import Checkpoint
from .inert_pickle import NUMPY, NUMPY_BYTES, TORCHSCRIPT, load_inert, native_order
from .pickle_scan import PickleBombError, foreign_names
from .sniff import begins_as_archive

_MAX_RATIO = 16
"""How much larger than the file the contents of an archive may be. PyTorch does not compress, and weights hardly compress."""

_SMALL = 64 << 20
"""Bytes that the contents of an archive may have in any case."""


def read_pickled(path: Path) -> Checkpoint:
    """Read tensors onto the CPU. Nothing but tensors and plain containers is ever unpickled.

    Raises:
        UnsafeCheckpointError: the pickle names a function or class that no state dict needs, or is made to fill memory.
        BrokenCheckpointError: the file is truncated, or is not a pickle.
    """
    try:
        names = sorted({name for data in _pickles(path) for name in foreign_names(data)})
    except UnsafeCheckpointError:
        raise
    except PickleBombError as error:
        raise UnsafeCheckpointError(
            f"{path} is a pickle bomb: a tuple that is small in the file would fill the memory. None of it was run. Do not trust the "
            "file: get the network from its author."
        ) from error
    except Exception as error:  # a damaged archive or opcode may raise anything
        raise _broken(path, error) from error
    inert = {name for name in names if TORCHSCRIPT.fullmatch(name) or NUMPY.fullmatch(name)}
    unknown = [name for name in names if name not in inert and not (inert and name == NUMPY_BYTES)]
    if unknown:
        raise UnsafeCheckpointError(
            f"{path} is a pickle that uses {', '.join(unknown[:8])}, but weights need only tensors. None of it was run. Do not "
            "trust the file: get the network from its author, as safetensors if possible."
        )
    try:
        if names or _is_program(path):
            return _read_inert(path)
        # Given a path, torch would judge by its suffix. It also warns about some pickles before it refuses them.
        with ignored_warnings(), path.open("rb") as file:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler may raise anything on damage
        raise _broken(path, error) from error
    return Checkpoint(path, "PyTorch pickle", state)


def _pickles(path: Path) -> list[bytes]:
    """Return the pickles in a file without loading them."""
    if not begins_as_archive(path):
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
        if len({name.lower() for name in names}) < len(names):  # PyTorch ignores case, and takes the other one of two
            raise ValueError("an archive with two members of one name")
        return [archive.read(name) for name in names if name.lower().endswith(".pkl") and not name.endswith("/constants.pkl")]


def _is_program(path: Path) -> bool:
    """Return True for a TorchScript program."""
    if not begins_as_archive(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _read_inert(path: Path) -> Checkpoint:
    """Read a TorchScript program or a pickle of NumPy arrays, whose names are known to be harmless."""
    if not begins_as_archive(path):
        return Checkpoint(path, "Python pickle", cast("Mapping[str, Any]", load_inert(path.read_bytes())))
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        (main,) = (name for name in names if name.count("/") == 1 and name.endswith("/data.pkl"))
        folder = main.removesuffix("data.pkl")
        if f"{folder}byteorder" in names and not native_order(archive.read(f"{folder}byteorder")):
            raise ValueError("numbers in the byte order of another machine")

        @cache
        def read_storage(key: str) -> bytes:
            return archive.read(f"{folder}data/{key}")

        state = load_inert(archive.read(main), read_storage)
    container = "TorchScript" if f"{folder}constants.pkl" in names else "PyTorch pickle"
    return Checkpoint(path, container, cast("Mapping[str, Any]", state))


def _broken(path: Path, error: Exception) -> BrokenCheckpointError:
    return BrokenCheckpointError(
        f"{path} ({path.stat().st_size:,} bytes) cannot be read as a PyTorch file: {first_line(error)[:200]}. The download was probably "
        "interrupted, or the file is of another kind. Download it again."
    )
