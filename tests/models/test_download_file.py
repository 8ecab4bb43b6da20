"""Downloads from a local web server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from span_arch import errors
from span_arch.models.catalogue import find_known
from span_arch.models.download_file import download

from .file_server import FileServer, serving

CONTENT = bytes(range(256)) * 1000
HALF = len(CONTENT) // 2


@pytest.fixture
def server() -> Iterator[FileServer]:
    pytest.importorskip("pooch")
    with serving(CONTENT) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "new" / "models"


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def start_download(server: FileServer, folder: Path) -> None:
    """Leave the half of a download."""
    server.cut = HALF
    with pytest.raises(errors.DownloadError):
        download(server.model(), folder)
    server.cut = None
    server.requests.clear()


@pytest.mark.parametrize("path", ["file/network.pth", "file/network.pth?raw=true", "moved/network.pth"])
def test_a_file_is_downloaded_also_through_a_redirect(server: FileServer, folder: Path, path: str) -> None:
    assert download(server.model(path=path), folder) == folder / "network.pth"
    assert files(folder) == {"network.pth": CONTENT}


def test_nothing_is_printed_without_a_terminal(server: FileServer, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    download(server.model(), folder)
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_there_is_not_downloaded_again(server: FileServer, folder: Path) -> None:
    download(server.model(), folder)
    download(server.model(), folder)
    assert server.requests == ["/file/network.pth 0"]


def test_another_file_of_the_same_name_is_kept(server: FileServer, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "network.pth").write_bytes(b"mine")
    with pytest.raises(errors.OutputError, match="already exists, but it is not 4x-Test"):
        download(server.model(), folder)
    assert files(folder) == {"network.pth": b"mine"}


def test_a_broken_download_is_continued(server: FileServer, folder: Path) -> None:
    server.cut = HALF
    with pytest.raises(errors.DownloadError, match=rf"broke off .* keeps [\d,]+ of {len(CONTENT):,} bytes\. Try again to continue\."):
        download(server.model(), folder)
    ((name, part),) = files(folder).items()
    assert name == "network.pth.part"
    assert part == CONTENT[: len(part)]
    assert len(part) > HALF * 0.8
    server.cut = None
    download(server.model(), folder)
    assert files(folder) == {"network.pth": CONTENT}
    assert server.requests == ["/file/network.pth 0", f"/file/network.pth {len(part)}"]


def test_a_server_without_ranges_sends_the_file_again(server: FileServer, folder: Path) -> None:
    start_download(server, folder)
    server.ranges = False
    download(server.model(), folder)
    assert files(folder) == {"network.pth": CONTENT}


@pytest.mark.parametrize("part", [b"x" * HALF, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 1)], ids=["half", "whole", "longer"])
def test_a_part_of_another_file_is_replaced(server: FileServer, folder: Path, part: bytes) -> None:
    folder.mkdir(parents=True)
    (folder / "network.pth.part").write_bytes(part)
    download(server.model(), folder)
    assert files(folder) == {"network.pth": CONTENT}


def test_a_whole_part_is_taken_without_a_request(server: FileServer, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "network.pth.part").write_bytes(CONTENT)
    download(server.model(), folder)
    assert (files(folder), server.requests) == ({"network.pth": CONTENT}, [])


def change_a_byte(server: FileServer) -> None:
    server.content = CONTENT[:-1] + b"x"


def lengthen_secretly(server: FileServer) -> None:
    server.content, server.length = CONTENT * 10, False


def shorten(server: FileServer) -> None:
    server.content = CONTENT[:-1]


def shorten_below_the_part(server: FileServer) -> None:
    server.content = CONTENT[: HALF // 2]


def lengthen(server: FileServer) -> None:
    server.content = CONTENT + b"more"


def put_a_page_there(server: FileServer) -> None:
    server.page, server.length = True, False


WRONG = [change_a_byte, lengthen_secretly, shorten, shorten_below_the_part, lengthen, put_a_page_there]


@pytest.mark.parametrize("change", WRONG)
def test_another_file_at_the_address_leaves_nothing(server: FileServer, folder: Path, change: Callable[[FileServer], None]) -> None:
    model = server.model()
    change(server)
    with pytest.raises(errors.DownloadError, match="gives another file than the known one"):
        download(model, folder)
    assert files(folder) == {}


@pytest.mark.parametrize("change", WRONG)
def test_another_file_at_the_address_never_completes_a_part(server: FileServer, folder: Path, change: Callable[[FileServer], None]) -> None:
    model = server.model()
    start_download(server, folder)
    kept = files(folder)
    change(server)
    with pytest.raises(errors.DownloadError, match="gives another file than the known one"):
        download(model, folder)
    assert files(folder) == ({} if change in (change_a_byte, lengthen_secretly) else kept)


def test_a_missing_file_is_reported(server: FileServer, folder: Path) -> None:
    with pytest.raises(errors.DownloadError, match=r"/gone/network\.pth answered 404 Not Found\. Check the connection"):
        download(server.model(path="gone/network.pth"), folder)
    assert files(folder) == {}


def test_a_silent_server_is_reported_and_its_bytes_are_kept(server: FileServer, folder: Path) -> None:
    server.silence.clear()
    server.cut = HALF
    with pytest.raises(errors.DownloadError, match=r"sent nothing for 0\.3 seconds\. .*\.part keeps .* Try again to continue"):
        download(server.model(), folder, timeout=0.3)
    (part,) = files(folder).values()
    assert CONTENT.startswith(part)
    assert len(part) > HALF * 0.8


def test_an_absent_server_is_reported(folder: Path) -> None:
    pytest.importorskip("pooch")
    with serving(CONTENT) as server:
        model = server.model()
    with pytest.raises(errors.DownloadError, match=r"network\.pth cannot be reached\. Check the connection"):
        download(model, folder)


def test_a_page_is_named_with_the_folder(folder: Path) -> None:
    model = find_known("4x-ClearRealityV1")
    assert model is not None
    with pytest.raises(errors.DownloadError) as caught:
        download(model, folder)
    assert all(words in str(caught.value) for words in ("https://mega.nz/", "in a browser", str(folder)))
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_is_an_error(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(errors.OutputError, match="cannot be created"):
        download(server.model(), tmp_path / "file" / "models")


def test_a_missing_package_is_reported(server: FileServer, folder: Path, hide_package: Callable[[str], None]) -> None:
    hide_package("pooch")
    with pytest.raises(errors.MissingExtraError, match="pip install pooch"):
        download(server.model(), folder)
    assert not folder.exists()
