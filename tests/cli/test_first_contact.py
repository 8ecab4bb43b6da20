"""Answers that need no model come before torch is imported, and one argument is enough."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

import span_arch
from span_arch import cli

from ..batch.sample_files import draw

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "torchvision", "spandrel", "numpy", "av", "onnx", "ncnn", "ray", "safetensors", "tqdm")

LIGHT = (
    "--help",
    "--version",
    "info --help",
    "convert --help",
    "evaluate --help",
    "completion --help",
    "completion bash",
    "completion zsh",
    "completion fish",
    "",
    "in.png out.png --precision best",
    "in.png out.png --longest 0",
    "in.png out.png --normalise best",
    "in.png out.png --model none.pth",
    "in.png out.png --model none",
    "in.png there.png",
    "none.png",
    "none.png out.png",
    "none.png out.png --device cuda",
    "none.png nor.mp4 out/",
    "none/*.png out",
    "info none.pth",
    "convert none.pth a.onnx",
    "convert spanx2_ch48 there.png",
    "evaluate none --model spanx2_ch48",
)

RUN_ALL = f"""
import sys
from span_arch import cli
for line in {LIGHT!r}:
    try:
        cli.main(line.split())
    except SystemExit:
        pass
    assert not (found := {HEAVY!r} & sys.modules.keys()), (line, found)
"""


@pytest.fixture(autouse=True)
def _in_a_folder_with_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    draw("in.png")
    draw("there.png")


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def test_nothing_heavy_is_imported_where_the_model_is_not_needed() -> None:
    run = python("-c", RUN_ALL.replace(repr(HEAVY), repr(set(HEAVY))))
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr


def test_import_of_the_library_imports_nothing_heavy() -> None:
    run = python(
        "-c", f"import sys, span_arch, span_arch.batch, span_arch.video, span_arch.image_files; print({set(HEAVY)} & {{*sys.modules}})"
    )
    assert run.stdout == "set()\n", run.stderr


@pytest.mark.parametrize("line", ["--help", "none.png out.png"])
def test_answer_is_much_faster_than_the_import_of_torch(line: str) -> None:
    def seconds(*arguments: str) -> float:
        started = time.perf_counter()
        python(*arguments)
        return time.perf_counter() - started

    answer = min(seconds("-m", "span_arch", *line.split()) for _ in range(3))
    assert answer < max(0.3, seconds("-c", "import torch") / 2)


def test_every_public_name_can_be_imported_first() -> None:
    """A module with the name of a function would take its place as soon as anything imports the module."""
    names = [name for name in span_arch.__all__ if name not in ("errors", "sizes")]
    run = python(
        "-c", f"import span_arch.cli.file_runner, types; print([n for n in {names} if isinstance(getattr(span_arch, n), types.ModuleType)])"
    )
    assert run.stdout == "[]\n", run.stderr
    assert set(span_arch.__all__) <= set(dir(span_arch))
    with pytest.raises(AttributeError, match="no attribute 'upscail'"):
        span_arch.upscail  # noqa: B018


# One argument


@pytest.mark.parametrize(
    ("source", "options", "result"),
    [
        ("photo.jpg", "", "photo_x2.png"),
        ("photo.JPEG", "", "photo_x2.png"),
        ("photo.webp", "", "photo_x2.webp"),
        ("a.b.png", "", "a.b_x2.png"),
        ("sub/photo.jpg", "", "sub/photo_x2.png"),
        ("photo.jpg", "--scale 1.5", "photo_x1.5.png"),
        ("photo.jpg", "--scale 3", "photo_x3.png"),
        ("photo.jpg", "--longest 30", "photo_upscaled.png"),
        ("photo.jpg", "--format jpg", "photo_x2.jpg"),
        ("photo.pcx", "--format webp", "photo_x2.webp"),
        ("[a].png", "", "[a]_x2.png"),
    ],
)
def test_result_of_a_single_image_is_next_to_it(source: str, options: str, result: str) -> None:
    draw(source)
    before = set(Path().rglob("*.*"))
    assert cli.main([source, "--model", "spanx2_ch48", *options.split()]) == 0
    assert {path.as_posix() for path in set(Path().rglob("*.*")) - before} == {result}


def test_default_model_gives_x4() -> None:
    draw("photo.jpg")
    assert cli.main(["photo.jpg"]) == 0
    with Image.open("photo_x4.png") as file:
        assert file.size == (80, 56)


def test_result_next_to_the_source_is_replaced_only_with_overwrite(capsys: pytest.CaptureFixture[str]) -> None:
    Path("in_x2.png").write_text("mine")
    assert cli.main(["in.png", "--model", "spanx2_ch48"]) == 5
    assert "in_x2.png already exists" in capsys.readouterr().err
    assert Path("in_x2.png").read_text() == "mine"
    assert cli.main(["in.png", "--model", "spanx2_ch48", "--skip-existing"]) == 0
    assert Path("in_x2.png").read_text() == "mine"
    assert cli.main(["in.png", "--model", "spanx2_ch48", "--overwrite"]) == 0
    assert Path("in_x2.png").read_bytes().startswith(b"\x89PNG")


def test_results_of_a_folder_are_in_a_folder_next_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("scans/a.png", "scans/b.jpg", "scans/sub/c.png"):
        draw(name)
    assert cli.main(["scans", "--model", "spanx2_ch48", "--recursive"]) == 0
    assert sorted(path.as_posix() for path in Path("scans_x2").rglob("*.*")) == ["scans_x2/a.png", "scans_x2/b.jpg", "scans_x2/sub/c.png"]
    monkeypatch.chdir("scans")
    assert cli.main([".", "--model", "spanx2_ch48", "--skip-existing", "--format", "webp"]) == 0
    assert sorted(path.name for path in Path("../scans_x2").glob("*.webp")) == ["a.webp", "b.webp"]
    assert not list(Path().glob("*_x2*"))


@pytest.mark.skipif(os.name == "nt", reason="Windows does not expand patterns")
def test_several_inputs_need_an_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["in.png", "in.png", "there.png"]) == 5
    assert "there.png is a file" in capsys.readouterr().err
