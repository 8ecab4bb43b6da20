"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ..errors import DiskFullError, OutputError

_umask = os.umask(0o077)  # it can only be read by setting it, which other threads would feel later on
os.umask(_umask)


def check_output(path: Path, *, overwrite: bool) -> None:
    """Raises the error that writing to ``path`` would end in, as far as that can be known before the work is done.

    Raises:
        OutputError: the file exists and may not be overwritten, it is a folder, its folder does not exist, or its name is too long.
    """
    try:
        is_folder, exists, has_folder = path.is_dir(), path.exists(), path.absolute().parent.is_dir()
    except OSError as error:  # the name is too long, or its folder may not be looked into
        raise OutputError(f"'{path}' cannot be written: {error.strerror or error}.") from error
    if is_folder:
        raise OutputError(f"'{path}' is a folder; expected the name of a file to write.")
    if exists and not overwrite:
        raise OutputError(f"'{path}' exists already and was left as it is. Choose another name, or ask for it to be overwritten.")
    if not has_folder:
        raise OutputError(f"'{path}' cannot be written: there is no folder '{path.parent}'. Make it first.")


def make_folder(path: Path) -> None:
    """Makes a folder, and those that it is in; one that is there already is left as it is.

    Raises:
        OutputError: it cannot be made.
        DiskFullError: the disk is full.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _error(f"The folder '{path}' cannot be made", error) from error


@contextmanager
def replacing(path: Path, *, overwrite: bool, durable: bool = False) -> Generator[Path]:
    """A temporary file beside ``path``, with its suffix, that takes its place once the block is left in peace.

    If the block fails, or the process dies, what was at ``path`` is still there, whole.

    Args:
        path: of the file.
        overwrite: whether a file that is there may be replaced.
        durable: whether a power cut right afterwards may not cost it either, for which the disk is waited for.

    Raises:
        OutputError: as `check_output`; or the folder cannot be written to.
        DiskFullError: the disk is full, or what one may put on it.
    """
    check_output(path, overwrite=overwrite)
    temporary: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.stem[:16]}.", suffix=path.suffix, dir=path.absolute().parent)
        os.close(descriptor)
        temporary = Path(name)
        yield temporary
        check_output(path, overwrite=overwrite)  # somebody else may have been quicker
        temporary.chmod(0o666 & ~_umask)  # mkstemp makes files that only their owner can read
        if durable:
            with temporary.open("r+b") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise _error(f"'{path}' cannot be written", error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def move(path: Path, target: Path) -> None:
    """Gives a file another place on the same disk, in which it replaces what is there; at no time is there half of it.

    Raises:
        OutputError: that cannot be done.
    """
    try:
        path.replace(target)
    except OSError as error:
        raise _error(f"'{target}' cannot be written", error) from error


def _error(what: str, error: OSError) -> OutputError:
    kind = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else OutputError
    return kind(f"{what}: {error.strerror or error}.")
