"""PyTorch's own container: a pickle, in a zip archive or, before PyTorch 1.6, bare."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path

import torch

from ..errors import BrokenCheckpointError, CheckpointError, UnsafeCheckpointError
from ._checkpoint import Checkpoint
from .pickle_scan import PickleBombError, imports
from .sniff import is_archive

_HARMLESS = ("torch", "collections", "typing", "numpy", "_codecs", "copyreg")

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
        pickles = _pickles(path)
        names = {name for data in pickles for name in imports(data)}
    except CheckpointError:
        raise
    except PickleBombError as error:
        raise UnsafeCheckpointError(
            f"'{path}' is a pickle bomb: it has a tuple that is small in the file and endless in memory. Nothing of it was run. Do not "
            "trust the file: get the network from its author."
        ) from error
    except Exception as error:  # whatever damage makes of archives and opcodes
        raise _broken(path, error) from error
    strangers = sorted(name for name in names if name.split(".")[0] not in _HARMLESS)
    if strangers:
        raise _unsafe(path, strangers)
    try:
        with warnings.catch_warnings():  # torch warns of some pickles that it then refuses, which the error below tells
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = sorted(name for name in names if name not in _ORDINARY)
        raise (_unsafe(path, refused) if refused else _broken(path, error)) from error
    except Exception as error:  # the unpickler meets damage in as many ways as there are
        raise _broken(path, error) from error
    return Checkpoint(path, "PyTorch pickle", state)


_ORDINARY = frozenset({
    "collections.OrderedDict", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter", "torch.nn.parameter.Parameter",
    *(f"torch.{kind}Storage" for kind in ("Float", "Half", "BFloat16", "Double", "Long", "Int")),
})  # fmt: skip
"""What the pickles of state dicts are made of."""


def _pickles(path: Path) -> list[bytes]:
    """The pickles in a file, none of them loaded."""
    if not is_archive(path):
        return [path.read_bytes()]
    with zipfile.ZipFile(path) as archive:
        size, unpacked = path.stat().st_size, sum(member.file_size for member in archive.infolist())
        if unpacked > max(_MOST_TIMES * size, _SMALL):
            raise UnsafeCheckpointError(
                f"'{path}' is an archive of {size:,} bytes that unpacks to {unpacked:,}: no file of weights does. Nothing was unpacked. Do "
                "not trust the file: get the network from its author."
            )
        names = archive.namelist()
        if any(name.endswith("/constants.pkl") for name in names):
            raise CheckpointError(
                f"'{path}' is a TorchScript program, which would have to be run to be read. Ask its author for the state dict, "
                "or save one from it: torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')."
            )
        return [archive.read(name) for name in names if name.endswith(".pkl")]


def _unsafe(path: Path, names: list[str]) -> UnsafeCheckpointError:
    return UnsafeCheckpointError(
        f"'{path}' is a pickle that wants to use {', '.join(names[:8])}; a file of weights needs only tensors. Nothing of it "
        "was run. Do not trust the file: get the network from its author, as safetensors if there is one."
    )


def _broken(path: Path, error: Exception) -> BrokenCheckpointError:
    reason = str(error).strip().splitlines() or [type(error).__name__]
    return BrokenCheckpointError(
        f"'{path}' cannot be read as a PyTorch file ({reason[0][:200]}); {path.stat().st_size:,} bytes are here. Most often a download "
        "broke off, or the file is of another kind and was renamed: download it again."
    )
