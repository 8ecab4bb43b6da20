"""Recognition of files that are not what their name says."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

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


def begins_as_archive(path: Path) -> bool:
    """Return True if a file begins as a zip archive. PyTorch tests the same. Python accepts an archive that begins anywhere."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def recognise(path: Path) -> Literal[".pth", ".safetensors", ".onnx"] | None:
    """Return the usual suffix of what a file holds, whatever its name. None if its first bytes do not show it."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head[8:9] == b"{" and head[10:11] and int.from_bytes(head[:8], "little") + 8 <= path.stat().st_size:
        return ".safetensors"
    if head.startswith(b"PK\x03\x04") or (head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")):
        return ".pth"
    # An ONNX file begins with the field 1, a version below 128, and goes on with a field that holds bytes.
    if len(head) > 8 and head[0] == 0x08 and 0 < head[1] < 0x80 and head[2] in (0x12, 0x1A, 0x22, 0x2A, 0x32, 0x3A, 0x42):
        return ".onnx"
    return None


def is_archive(path: Path) -> bool:
    """Return True for a whole zip archive."""
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:  # the search for its end may find a damaged one
        return False
