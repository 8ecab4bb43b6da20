"""Download known models: resumed where a download broke off, checked, and whole or not at all. This module needs no torch."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._util.extras import require_extra
from .._util.files import make_folder, output_error
from .._util.process import log_level
from .._util.text import first_line
from ..errors import DownloadError, OutputError
from .catalogue import KnownFile, KnownModel

TIMEOUT = 30.0
"""Seconds to wait for a server that sends nothing."""

_CHUNK = 1 << 14
_PURPOSE = "to download models"


def part_of(path: Path) -> Path:
    """Return where the finished part of a download is kept."""
    return path.with_name(f"{path.name}.part")


def download(model: KnownModel, folder: Path, *, timeout: float = TIMEOUT) -> Path:
    """Download a known model and return the path of its file. A file that is there already is not downloaded again.

    The finished part of a broken download stays next to the file as ``NAME.part``, and the next call continues it. A progress bar is shown
    on standard error if that is a terminal.

    Args:
        model: the model to download.
        folder: where to put the file. It is created if needed.
        timeout: seconds to wait for a server that sends nothing.

    Raises:
        DownloadError: its addresses are pages, or no address gives the right file.
        OutputError: another file has its name, or it cannot be written.
        MissingExtraError: the package ``pooch`` is not installed.
    """
    file = model.file_to_download
    if file is None:
        raise DownloadError(f"{model.name} cannot be downloaded by a program, because its address is a page. {model.where_to_get(folder)}")
    target = folder / model.file_name
    if target.exists():
        if target.is_file() and file.matches(target):
            return target
        raise OutputError(f"{target} already exists, but it is not {model.name}. Move it away, or choose another folder.")
    require_extra("pooch", _PURPOSE)
    make_folder(folder)
    failures: list[DownloadError] = []
    for address in file.downloads:
        try:
            _retrieve(address, file, target, timeout)
            return target
        except DownloadError as error:
            failures.append(error)
    raise failures[0]


def _retrieve(address: str, file: KnownFile, target: Path, timeout: float) -> None:
    """Download a file from one address, by way of its part."""
    pooch, exceptions = require_extra("pooch", _PURPOSE), require_extra("requests.exceptions", _PURPOSE)
    part = part_of(target)
    resumed = part.exists()
    try:
        with log_level(logging.WARNING, pooch.get_logger()):
            pooch.retrieve(
                address, f"sha256:{file.sha256}", fname=target.name, path=target.parent, downloader=_Resuming(part, file.size, timeout)
            )
    except exceptions.RequestException as error:
        raise DownloadError(f"{_reason(error, address, timeout)} {_next_step(part, file)}") from error
    except OSError as error:
        raise output_error(f"{target} cannot be written", error) from error
    except ValueError as error:  # pooch's word for a wrong checksum; it has deleted the file
        if resumed:  # the part may be the wrong one
            return _retrieve(address, file, target, timeout)
        raise _other_file(address, "its SHA-256 differs") from error
    return None


@dataclass(frozen=True)
class _Resuming:
    """A downloader for pooch that continues a part."""

    part: Path
    size: int
    timeout: float

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        if self._finished() < self.size:
            self._fetch(url)
        self.part.replace(output_file)

    def _finished(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _fetch(self, url: str) -> None:
        requests = require_extra("requests", _PURPOSE)
        start = self._finished()
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        with requests.get(url, headers=headers, stream=True, timeout=self.timeout) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                raise _other_file(url, f"it has at most {start:,} bytes, where {self.size:,} were expected")
            response.raise_for_status()
            if response.headers.get("Content-Type", "").lower().startswith("text/html"):
                raise _other_file(url, "it is a web page")
            if response.status_code != requests.codes.partial_content:
                start = 0  # the server sends the whole file
            length = response.headers.get("Content-Length", "")
            if length.isdecimal() and start + int(length) != self.size:
                raise _other_file(url, f"it has {start + int(length):,} bytes, where {self.size:,} were expected")
            self._write(response, start)
        if (size := self._finished()) > self.size:
            self.part.unlink()
            raise _other_file(url, f"it has more than the expected {self.size:,} bytes")
        if size < self.size:
            raise requests.exceptions.ChunkedEncodingError

    def _write(self, response: Any, start: int) -> None:
        from tqdm import tqdm  # only here, so that the command line starts fast

        bar: Any = tqdm(total=self.size, initial=start, unit="B", unit_scale=True, desc=self.part.stem, dynamic_ncols=True, disable=None)
        with bar, self.part.open("ab" if start else "wb") as file:
            for chunk in response.iter_content(_CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
                if file.tell() > self.size:
                    return


def _other_file(url: str, difference: str) -> DownloadError:
    return DownloadError(
        f"{url} gives another file than the known one: {difference}. Try again later, or open the address in a browser to see why."
    )


def _reason(error: Any, address: str, timeout: float) -> str:
    """Return what went wrong, as a sentence. `error` is an exception of requests."""
    exceptions = require_extra("requests.exceptions", _PURPOSE)
    if error.response is not None:
        return f"{address} answered {error.response.status_code} {error.response.reason}."
    if isinstance(error, exceptions.Timeout) or "timed out" in str(error):
        return f"{address} sent nothing for {timeout:g} seconds."
    if isinstance(error, exceptions.ChunkedEncodingError):
        return f"{address} broke off before the end of the file."
    if isinstance(error, exceptions.ConnectionError):
        return f"{address} cannot be reached."
    return f"{address} cannot be downloaded: {first_line(error)}."


def _next_step(part: Path, file: KnownFile) -> str:
    if part.exists():
        return f"{part} keeps {part.stat().st_size:,} of {file.size:,} bytes. Try again to continue."
    return "Check the connection and try again, or open the address in a browser."
