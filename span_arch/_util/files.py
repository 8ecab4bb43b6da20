"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import DiskFullError, OutputError


def check_output(path: Path, *, overwrite: bool) -> None:
    """Raise an error, before the work starts, if ``path`` obviously cannot be written.

    Raises:
        OutputError: the file exists and must not be overwritten, it is a folder, its folder does not exist, or its name is too long.
    """
    try:
        is_folder, exists, has_folder = path.is_dir(), path.exists(), path.absolute().parent.is_dir()
    except OSError as error:  # the name is too long, or its folder is not readable
        raise OutputError(f"{path} cannot be written: {error.strerror or error}. Choose another file.") from error
    if is_folder:
        raise OutputError(f"{path} is a folder. Give the name of a file to write.")
    if exists and not overwrite:
        raise OutputError(f"{path} already exists. Choose another name, or allow overwriting.")
    if not has_folder:
        raise OutputError(f"{path} cannot be written because there is no folder {path.parent}. Create it first.")


def make_folder(path: Path) -> None:
    """Create a folder and its parents, unless they exist.

    Raises:
        OutputError: it cannot be created.
        DiskFullError: the disk is full.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(f"The folder {path} cannot be created", error) from error


@contextmanager
def replacing(path: Path, *, overwrite: bool, durable: bool = False) -> Generator[Path]:
    """Yield a temporary file next to ``path``, with the same suffix, that replaces ``path`` when the block ends without an error.

    If the block fails or the process dies, the file at ``path`` stays as it was.

    Args:
        path: the file to write.
        overwrite: replace a file that exists.
        durable: wait for the disk, so that the new file survives a power cut.

    Raises:
        OutputError: as `check_output`, or the folder is not writable.
        DiskFullError: the disk or the user's quota is full.
    """
    check_output(path, overwrite=overwrite)
    temporary: Path | None = None
    try:
        temporary = _create_hidden(path)
        yield temporary
        check_output(path, overwrite=overwrite)  # another process may have written it in the meantime
        if durable:
            with temporary.open("r+b") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise output_error(f"{path} cannot be written", error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def move(path: Path, target: Path) -> None:
    """Move a file within the same disk in one step. It replaces a file at ``target``.

    Raises:
        OutputError: it cannot be moved.
    """
    try:
        path.replace(target)
    except OSError as error:
        raise output_error(f"{target} cannot be written", error) from error


def _create_hidden(path: Path) -> Path:
    """Create an empty file under a hidden random name next to ``path``. The system applies the umask, unlike in ``tempfile``."""
    while True:
        hidden = path.absolute().with_name(f".{path.stem[:16]}.{secrets.token_hex(4)}{path.suffix}")
        with suppress(FileExistsError):
            os.close(os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            return hidden


def output_error(failure: str, error: OSError) -> OutputError:
    """Return the error to raise for a failed write. `failure` is the start of its message."""
    kind = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else OutputError
    return kind(f"{failure}: {error.strerror or error}.")
