"""Recognises what a file really is, where that differs from what its name says."""

from __future__ import annotations

import zipfile
from pathlib import Path

from ..errors import BrokenCheckpointError

_HEAD = 512


def explain(path: Path) -> None:
    """Raises the error that tells what is wrong with a file that holds no weights at all; otherwise does nothing.

    Raises:
        BrokenCheckpointError: it is empty, a web page, a Git LFS pointer, or an archive that breaks off.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        raise BrokenCheckpointError(f"'{path}' is empty. Download it again.")
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise BrokenCheckpointError(
            f"'{path}' is a web page, not a file of weights. The link led to the page about the file: open it in a browser and "
            "use its download button."
        )
    if text.startswith(b"version https://git-lfs"):
        raise BrokenCheckpointError(
            f"'{path}' is a Git LFS pointer, not the file itself. Run 'git lfs pull' in the folder it came from, or download the file "
            "through the browser."
        )
    if head.startswith(b"PK\x03\x04") and not is_archive(path):
        raise BrokenCheckpointError(
            f"'{path}' breaks off after {path.stat().st_size:,} bytes: the archive has no end. The download was interrupted: "
            "download it again."
        )


def is_archive(path: Path) -> bool:
    """Whether a file is a zip archive with its end."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # it looks for an end, and may find a damaged one
        return False
