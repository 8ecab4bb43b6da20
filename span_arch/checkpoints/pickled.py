"""PyTorch's own container: a pickle, in a zip archive or, before PyTorch 1.6, bare."""

from __future__ import annotations

import io
import pickle
import pickletools
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch

from ..errors import BrokenCheckpointError, CheckpointError, UnsafeCheckpointError
from ._checkpoint import Checkpoint

_HARMLESS = ("torch", "collections", "typing", "numpy", "_codecs", "copyreg")


def read_pickled(path: Path) -> Checkpoint:
    """Reads tensors, onto the CPU wherever they were saved from. Nothing but tensors and plain containers is ever unpickled.

    Raises:
        UnsafeCheckpointError: the pickle names a function or class that a state dict has no need of.
        BrokenCheckpointError: it is truncated, or no pickle at all.
        CheckpointError: it is a TorchScript program.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise CheckpointError(
                    f"'{path}' is a TorchScript program, which would have to be run to be read. Ask its author for the state dict, "
                    "or save one from it: torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')."
                )
    try:
        with warnings.catch_warnings():  # torch warns of some pickles that it then refuses, which the error below tells
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        strangers = _strangers(path)
        if strangers:
            raise UnsafeCheckpointError(
                f"'{path}' is a pickle that wants to use {', '.join(strangers)}; a file of weights needs only tensors. Nothing of it "
                "was run. Do not trust the file: get the network from its author, as safetensors if there is one."
            ) from error
        raise _broken(path, error) from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError) as error:
        raise _broken(path, error) from error
    return Checkpoint(path, "PyTorch pickle", state)


def _broken(path: Path, error: Exception) -> BrokenCheckpointError:
    reason = str(error).strip().splitlines() or [type(error).__name__]
    return BrokenCheckpointError(
        f"'{path}' cannot be read as a PyTorch file ({reason[0][:200]}); {path.stat().st_size:,} bytes are here. Most often a download "
        "broke off, or the file is of another kind and was renamed: download it again."
    )


def _strangers(path: Path) -> list[str]:
    """The functions and classes that a pickle asks for and that no state dict needs, read without running it."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            pickles = [archive.read(name) for name in archive.namelist() if name.endswith(".pkl")]
    else:
        pickles = [path.read_bytes()]
    names: set[str] = set()
    for data in pickles:
        try:
            names.update(_names(io.BytesIO(data), len(data)))
        except ValueError:  # no pickle, or not to its end; what was named before that counts
            continue
    return sorted(name for name in names if name.split(".")[0] not in _HARMLESS)


def _names(stream: io.BytesIO, length: int) -> Iterator[str]:
    """All that the pickles of a stream ask to import; before PyTorch 1.6 there are several in a row."""
    recent: list[str] = []  # the strings from which STACK_GLOBAL takes module and name
    while stream.tell() < length:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "GLOBAL" and isinstance(argument, str):
                yield argument.replace(" ", ".")
            elif opcode.name == "STACK_GLOBAL":
                yield ".".join(recent[-2:])
            elif isinstance(argument, str):
                recent.append(argument)
