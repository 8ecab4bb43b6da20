"""``span-upscale models`` and ``get``, and known models elsewhere on the command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from span_arch import cli
from span_arch.cli.get_command import get_model
from span_arch.models.catalogue import PURPOSES, WEIGHTS, known_models

from ..models.file_server import FileServer, serving

CONTENT = bytes(range(256)) * 1000


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's only folder of models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPAN_MODELS", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def server() -> Iterator[FileServer]:
    pytest.importorskip("pooch")
    with serving(CONTENT) as server:
        yield server


def test_models_are_listed_by_purpose(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine.pth").write_bytes(b"mine")
    assert cli.main(["models"]) == 0
    out = capsys.readouterr().out
    heading, *groups = out.split("\n\n")
    assert heading.split() == ["name", "scale", "size", "licence", "author", "where"]
    titles = [group.splitlines()[0] for group in groups]
    listed = [purpose for purpose in PURPOSES if purpose != "pixel art"]
    assert titles[: len(listed)] == [f"{purpose} ({PURPOSES[purpose]})" for purpose in listed]
    assert titles[len(listed) : -1] == ["installed, not in the catalogue", "No model is known for: pixel art."]
    assert all(f"  {model.name} " in out for model in known_models())
    lines = {line.split()[0]: line for line in out.splitlines() if line.startswith("  ")}
    assert lines["spanx4_ch52"].endswith("built in")
    assert lines["4x-PurePhoto-span"].split() == ["4x-PurePhoto-span", "x4", "9.0", "MB", "CC-BY-SA-4.0", "asterixcool", "download"]
    assert "page: https://mega.nz/" in lines["4x-ClearRealityV1"]
    assert lines["mine.pth"].endswith(str(folder / "mine.pth"))
    assert len({line.index(column) for line, column in ((lines["2x-HFA2kSPAN"], "CC-BY"), (lines["1x-SuperScale"], "CC-BY"))}) == 1


def test_models_are_listed_as_json_with_their_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(WEIGHTS / "spanx2_ch48.safetensors", folder / "copy.safetensors")
    (folder / "mine.pth").write_bytes(b"mine")
    assert cli.main(["models", "--json", "--models-dir", "absent", "--models-dir", str(folder)]) == 0
    facts = {model["name"]: model for model in json.loads(capsys.readouterr().out)}
    assert len(facts) == len(known_models()) + 1
    assert facts["spanx2_ch48"]["path"] == str(folder / "copy.safetensors")
    assert facts["mine.pth"]["path"] == str(folder / "mine.pth")
    assert facts["4x-PurePhoto-span"]["path"] is None
    assert facts["4x-PurePhoto-span"]["files"][0]["size"] == 9016490


def test_a_missing_folder_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "--models-dir", "absent"]) == 0
    assert "Folders: absent (does not exist)" in capsys.readouterr().out


def test_get_shows_the_licence_and_saves_the_file(server: FileServer, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    get_model(server.model(), [folder])
    assert capsys.readouterr().out.splitlines() == [
        "4x-Test (Test): x4, photo, by somebody",
        "licence: CC-BY-NC-4.0 (name the author, no commercial use)",
        f"from: {server.address}/file/network.pth, 0.3 MB",
        f"saved: {folder / 'network.pth'}",
    ]
    assert (folder / "network.pth").read_bytes() == CONTENT


def test_get_finds_an_installed_file_under_any_name(server: FileServer, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "within").mkdir()
    (folder / "within" / "renamed.bin").write_bytes(CONTENT)
    get_model(server.model(), [folder / "absent", folder])
    assert f"already installed: {folder / 'within' / 'renamed.bin'}" in capsys.readouterr().out
    assert server.requests == []


def test_get_of_an_included_network_has_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["get", "SPANX4_CH52"]) == 0
    assert "built in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "place"), [("4x-ClearRealityV1", "https://mega.nz/"), ("4x-Nomos8k-span-otf-weak", "https://drive.google.com/")]
)
def test_get_of_a_page_shows_licence_page_and_folder(name: str, place: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["get", name.lower()]) == 9
    out, err = capsys.readouterr()
    assert "licence: CC-BY-" in out
    assert all(words in err for words in ("its address is a page", place, str(folder)))


def test_get_of_an_unknown_name_offers_similar_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["get", "purefoto span"]) == 3
    assert "Did you mean 4x-PurePhoto-span" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_get_refuses_an_impossible_timeout(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["get", "4x-PurePhoto-span", "--timeout", seconds]) == 2
    assert "--timeout" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["info", "4x-purephoto-span"], ["a.png", "b.png", "--model", "4x-PurePhoto-span.pth"]])
def test_a_known_model_that_is_missing_says_where_to_get_it(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.png").touch()
    assert cli.main(command) == 3
    assert "span-upscale get 4x-PurePhoto-span" in capsys.readouterr().err


INTERRUPTED = """
import sys
from span_arch._util.process import interruptible
from span_arch.cli.get_command import get_model
from span_arch.models.catalogue import KnownFile, KnownModel
size, sha256, address, folder = sys.argv[1:]
file = KnownFile(".pth", int(size), sha256, (address,))
from pathlib import Path
with interruptible():
    get_model(KnownModel("4x-Test", "Test", "somebody", "MIT", 4, "photo", (), (file,)), [Path(folder)])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_keeps_the_part_and_the_next_get_continues(server: FileServer, folder: Path) -> None:
    server.cut = len(CONTENT) // 2
    server.silence.clear()
    model = server.model()
    (file,) = model.files
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", INTERRUPTED, str(file.size), file.sha256, file.addresses[0], str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    part = folder / "network.pth.part"
    while not (part.exists() and part.stat().st_size):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in err
    assert "Downloading" not in err
    assert f"{part} keeps " in err
    assert [path.name for path in folder.iterdir()] == [part.name]
    server.cut = None
    get_model(model, [folder])
    assert [path.name for path in folder.iterdir()] == ["network.pth"]
    assert server.requests[1] != "/file/network.pth 0"
