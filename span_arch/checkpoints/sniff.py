"""Recognition of files that are not what their name says."""

from __future__ import annotations

import zipfile
from pathlib import Path

from ..errors import BrokenCheckpointError

_HEAD = 512


def explain(path: Path) -> None:
    """Raise an error if a file obviously holds no weights.

    Raises:
        BrokenCheckpointError: it is empty, a web page, a Git LFS pointer, or a truncated archive.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        raise BrokenCheckpointError(f"{path} is empty. Download it again.")
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise BrokenCheckpointError(
            f"{path} is a web page, not a checkpoint. The link led to a page about the file: open it in a browser and use its download "
            "button."
        )
    if text.startswith(b"version https://git-lfs"):
        raise BrokenCheckpointError(
            f"{path} is a Git LFS pointer, not the file itself. Run 'git lfs pull' in its repository, or download the file in a browser."
        )
    if head.startswith(b"PK\x03\x04") and not is_archive(path):
        raise BrokenCheckpointError(
            f"{path} is truncated: the archive has no end after {path.stat().st_size:,} bytes. The download was interrupted: download the "
            "file again."
        )


def is_archive(path: Path) -> bool:
    """Return True for a whole zip archive."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # the search for its end may find a damaged one
        return False
