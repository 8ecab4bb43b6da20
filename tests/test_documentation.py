"""README and docs: their examples run, their links lead somewhere, and what they list exists."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from span_arch import cli
from span_arch.archs.span import SPAN
from span_arch.cli.exit_codes import ExitCode

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = ((), ("info",), ("convert",), ("evaluate",), ("models",), ("get",), ("completion",))

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
every_user_page = pytest.mark.parametrize("page", [PAGES[0], *PAGES[3:]], ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced code blocks of a page in one language."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    """Return a page without fenced blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes from the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def shown_commands(page: Path) -> Iterator[str]:
    """Yield the arguments of every span-upscale command on a page, and the bare options in its prose."""
    spans = re.findall(r"`([^`\n]+)`", prose(page))
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    for text in (*lines, *spans):
        command = re.search(r"(?:^|&& )(?:\S*/)?span-upscale (.*)", text.partition("#")[0])
        if command:
            yield command[1]
        elif text.startswith("--"):
            yield text


@pytest.fixture
def options(capsys: pytest.CaptureFixture[str]) -> dict[str, set[str]]:
    """The options of every command, by its name; of ``span-upscale`` itself by an empty one."""
    found: dict[str, set[str]] = {}
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            cli.main([*command, "--help"])
        found["".join(command)] = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out))
    return found


def test_readme_has_at_most_200_lines() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 200


def test_readme_holds_the_command_that_runs_the_tests() -> None:
    (command,) = re.findall(r"<!-- tests -->\n```sh\n(.+)\n```\n", (ROOT / "README.md").read_text("utf-8"))
    assert command.rpartition(" && ")[2].startswith(".venv/bin/python -m pytest")


@every_page
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", prose(page)):
        if not target.startswith(("http:", "https:")):
            linked = page.parent / target if target else page
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked), f"{target}#{anchor}"


@every_user_page
def test_every_option_shown_exists(page: Path, options: dict[str, set[str]]) -> None:
    anywhere = set.union(*options.values())
    for command in shown_commands(page):
        known = anywhere if command.startswith("--") else options.get(command.split()[0], options[""])
        shown = set(re.findall(r"(?<!\S)--[a-z][a-z-]*", command))
        assert shown <= known, command


def test_command_line_page_names_every_option(options: dict[str, set[str]]) -> None:
    text = (ROOT / "docs" / "command-line.md").read_text("utf-8")
    assert {option for option in set.union(*options.values()) if option not in text} <= {"--version"}


def test_python_examples_run(tmp_path: Path) -> None:
    for package in ("av", "onnx", "onnxscript", "onnxruntime", "ncnn"):
        pytest.importorskip(package)
    (tmp_path / "photos").mkdir()
    draw(tmp_path / "photo.png")
    draw(tmp_path / "photos" / "one.png")
    film(tmp_path / "film.mp4")
    pages = {str(page.relative_to(ROOT)): "\n".join(blocks(page, "python")) for page in PAGES}
    assert {"README.md", "docs/python.md", "docs/video.md"} <= {name for name, code in pages.items() if code}
    script = "\n".join(f"exec(compile({code!r}, {name!r}, 'exec'), {{}})" for name, code in pages.items())
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # in a process of their own, since they teach spandrel the family
    run = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def draw(path: Path) -> None:
    """Write a small PNG."""
    from PIL import Image

    with Image.open(ROOT / "docs" / "example.png") as file:
        file.resize((24, 16)).save(path)


def film(path: Path) -> None:
    """Write a small video."""
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        for index in range(24):
            levels = np.full((24, 32, 3), 10 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(levels, format="rgb24")))
        container.mux(stream.encode(None))


def network_of_infinities(path: Path) -> None:
    """Save a network whose results are infinite."""
    state = SPAN(feature_channels=4, blocks=1, normalisation=None).state_dict()
    torch.save({key: torch.full_like(tensor, 1e30) for key, tensor in state.items()}, path)


def test_exit_codes_are_those_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", (ROOT / "docs" / "command-line.md").read_text("utf-8"), re.MULTILINE)
    assert [int(code) for code, _ in rows] == sorted(ExitCode)
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "photo.png")
    (tmp_path / "photos").mkdir()
    draw(tmp_path / "photos" / "good.png")
    (tmp_path / "photos" / "bad.png").write_bytes(b"not a PNG")
    shutil.copy("photo.png", "there.png")
    (tmp_path / "weights.pth").write_bytes(b"not weights")
    network_of_infinities(tmp_path / "infinite.pth")
    for code, arguments in enumerate(
        (
            "photo.png large.png",
            "photos large",
            "photo.png x.png --fit fill",
            "photo.png x.png --model weights.pth",
            "absent.png x.png",
            "photo.png there.png",
            "photo.png x.png --model infinite.pth",
        )
    ):
        assert cli.main(arguments.split()) == code, capsys.readouterr().err
