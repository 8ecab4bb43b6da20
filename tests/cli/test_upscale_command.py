"""``span-upscale`` without a command: upscale files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from span_arch import cli, errors
from span_arch._util.process import interruptible
from span_arch.batch import Job, Outcome
from span_arch.cli import upscale_command
from span_arch.cli.exit_codes import ExitCode

from ..batch.sample_files import draw


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> int:
    return cli.main([*arguments])


def mode_and_size(path: str) -> tuple[str, tuple[int, int]]:
    with Image.open(path) as file:
        return file.mode, file.size


@pytest.mark.parametrize(("mode", "result"), [("RGB", "RGB"), ("L", "L"), ("RGBA", "RGBA"), ("P", "RGB"), ("1", "L"), ("LA", "RGBA")])
def test_images_of_every_mode(mode: str, result: str, capsys: pytest.CaptureFixture[str]) -> None:
    draw("in.png", mode)
    assert run("in.png", "out.png", "--model", "spanx2_ch48") == 0
    assert mode_and_size("out.png") == (result, (40, 28))
    assert capsys.readouterr().out.startswith("out.png: 20x14 to 40x28 in ")


def test_sixteen_bit_grey_stays_sixteen_bit() -> None:
    Image.fromarray(np.full((9, 9), 32768, dtype=np.uint16)).save("in.png")
    assert run("in.png", "out.png", "--model", "spanx2_ch48") == 0
    with Image.open("out.png") as file:
        assert abs(int(np.array(file)[9, 9]) - 32768) < 8 * 257


def test_image_is_turned_upright_and_keeps_its_profile() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter
    draw("in.jpg", exif=exif, dpi=(300, 300), icc_profile=b"profile")
    assert run("in.jpg", "out.png", "--model", "spanx2_ch48") == 0
    with Image.open("out.png") as file:
        assert file.size == (28, 40)
        assert file.info["icc_profile"] == b"profile"
        assert file.info["dpi"] == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize("name", ["out.jpg", "out.webp", "out.tiff", "out.PNG"])
def test_suffix_selects_the_format(name: str) -> None:
    draw("in.png")
    assert run("in.png", name, "--model", "spanx2_ch48", "--tile", "16", "--precision", "float32") == 0
    assert mode_and_size(name)[1] == (40, 28)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:300])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["in.png", "out.png", "--model", "spanx9"], 3, "spanx9"),
        (["in.png", "out.png", "--model", "page.pth"], 3, "page.pth"),
        (["in.png", "out.png", "--model", "half.param"], 3, "half"),
        (["none.png", "out.png"], 4, "none.png"),
        (["page.pth", "out.png"], 4, "page.pth"),
        (["damaged.png", "out.png"], 4, "damaged.png"),
        (["in.png", "out.xyz"], 5, "xyz"),
        (["in.png", "none/out.png"], 5, "none"),
        (["in.png", "."], 5, "would replace the file itself"),
        (["alpha.png", "out.jpg"], 5, "out.jpg"),
        (["info", "page.pth"], 3, "page.pth"),
        (["evaluate", "none", "--model", "spanx2_ch48"], 4, "none does not exist"),
    ],
)
def test_error_gives_a_message_and_an_exit_code(arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    draw("in.png")
    draw("alpha.png", "RGBA")
    truncate(draw("damaged.png"))
    Path("page.pth").write_text("<html>")
    Path("half.param").write_text("7767517\n0 0\n")
    before = sorted(Path().iterdir())
    assert run(*arguments) == code
    output = capsys.readouterr()
    assert words in output.err
    assert output.err.startswith("span-upscale: ")
    assert "Traceback" not in output.err
    assert not output.out
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["in.png", "out.png", "--tile", "0"],
        ["in.png", "out.png", "--precision", "best"],
        ["in.png", "out.png", "--alpha", "bleed"],
        ["in.png", "out.png", "--alpha", "255,255"],
        ["in.png", "out.png", "--alpha", "0,0,256"],
        ["in.png", "out.png", "--alpha=-1,0,0"],
        ["in.png", "out.png", "--seamless", "z"],
        ["info"],
        ["in.png", "out.png", "--size", "1920"],
        ["in.png", "out.png", "--size", "1x2x3"],
        ["in.png", "out.png", "--fit", "crop"],
    ],
)
def test_wrong_usage_is_reported(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        run(*arguments)
    assert exit_info.value.code == 2
    assert "usage: span-upscale" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ("--scale 1.5", (30, 21)),
        ("--scale 0.5 --filter area", (10, 7)),
        ("--scale 4", (80, 56)),
        ("--size 33x44 --filter bicubic", (33, 44)),
        ("--size 33X44 --fit stretch", (33, 44)),
        ("--size 33x44 --fit fit", (33, 23)),
        ("--size 33x44 --fit fill", (33, 44)),
        ("--longest 50", (50, 35)),
        ("--shortest 35", (50, 35)),
        ("--megapixels 0.007", (100, 70)),
    ],
)
def test_size_options(options: str, size: tuple[int, int], capsys: pytest.CaptureFixture[str]) -> None:
    draw("in.png")
    assert run("in.png", "out.png", "--model", "spanx2_ch48", *options.split()) == 0
    assert mode_and_size("out.png") == ("RGB", size)
    assert capsys.readouterr().out.startswith(f"out.png: 20x14 to {size[0]}x{size[1]} in ")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--scale 0", "factor is 0.0"),
        ("--scale -2", "factor is -2.0"),
        ("--scale nan", "factor is nan"),
        ("--size 0x10", "width is 0"),
        ("--longest -3", "longest side is -3"),
        ("--megapixels 0", "megapixels is 0.0"),
        ("--scale 2 --longest 100", "by --scale and --longest. Give only one"),
        ("--fit fill --longest 100", "--fit fill needs --size, which is missing"),
    ],
)
def test_invalid_size_is_reported_before_anything_is_read(options: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("none.png", "out.png", *options.split()) == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1


def test_existing_file_is_replaced_only_with_overwrite(capsys: pytest.CaptureFixture[str]) -> None:
    draw("in.png")
    Path("out.png").write_text("mine")
    assert run("in.png", "out.png", "--model", "spanx2_ch48") == 5
    assert Path("out.png").read_text() == "mine"
    assert "out.png already exists" in capsys.readouterr().err
    assert run("in.png", "out.png", "--model", "spanx2_ch48", "--overwrite") == 0
    assert mode_and_size("out.png") == ("RGB", (40, 28))


def test_alpha_seamless_and_ensemble_change_the_result() -> None:
    draw("in.png", "RGBA")
    small = ["in.png", "--model", "spanx2_ch48", "--precision", "float32"]
    assert run(*small, "plain.png") == 0
    assert run(*small, "white.jpg", "--alpha", "255,255,255") == 0
    assert run(*small, "model.png", "--alpha", "model") == 0
    assert run(*small, "seamless.png", "--seamless", "xy") == 0
    assert run(*small, "ensemble.png", "--ensemble") == 0
    assert mode_and_size("white.jpg") == ("RGB", (40, 28))
    results = [f"{name}.png" for name in ("plain", "model", "seamless", "ensemble")]
    assert {mode_and_size(result) for result in results} == {("RGBA", (40, 28))}
    assert len({Path(result).read_bytes() for result in results}) == 4


def test_signal_stops_a_single_file_without_a_trace(capsys: pytest.CaptureFixture[str]) -> None:
    draw("in.png", size=(1500, 1500))
    signalling = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
    with interruptible():  # a signal that comes too late must not end the tests
        signalling.start()
        assert run("in.png", "out.png") == ExitCode.STOPPED
    assert "stopped" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["in.png"]


def test_folder_is_upscaled_and_failures_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("in/a.png", "in/b.png", "in/sub/c.png", "in/sub/d.png"):
        draw(name)
    truncate(Path("in/b.png"))
    Path("in/notes.txt").touch()
    assert run("in", "out", "--model", "spanx2_ch48", "--recursive") == 1
    output = capsys.readouterr()
    lines = output.err.splitlines()
    assert lines[0] == "span-upscale: 1 failed:"
    assert lines[1].startswith(f"  {Path('in/b.png')}: ")
    assert len(lines) == 2
    assert output.out.startswith("3 done, 1 failed in ")
    assert "Ignored files of other kinds: 1" in output.out
    assert sorted(path.as_posix() for path in Path("out").rglob("*.png")) == ["out/a.png", "out/sub/c.png", "out/sub/d.png"]


def test_second_run_does_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    draw("a.png")
    draw("b.png")
    assert run("a.png", "--model", "spanx2_ch48", f"out{os.sep}") == 0
    assert run("*.png", "out", "--model", "spanx2_ch48", "--skip-existing", "--verbose") == 0
    output = capsys.readouterr().out
    assert f"{Path('out/a.png')}: skipped" in output
    assert f"{Path('out/b.png')}: 20x14 to 40x28." in output
    assert "1 done, 1 skipped in" in output
    assert run("a.png", "b.png", "out", "--model", "spanx2_ch48") == 1
    assert capsys.readouterr().err.count("already exists") == 2
    assert run("a.png", "--overwrite", "b.png", "--model", "spanx2_ch48", "out") == 0


def test_format_and_quality_apply_to_all_files() -> None:
    draw("a.png", size=(60, 60))
    for quality in ("20", "95"):
        assert run("a.png", f"{quality}{os.sep}", "--model", "spanx2_ch48", "--format", "jpg", "--quality", quality) == 0
    assert Path("20/a.jpg").stat().st_size < Path("95/a.jpg").stat().st_size / 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["a.png", "b.jpg", "--format", "png"], 2, "--format needs a folder"),
        (["a.png", "out/", "--format", "exe"], 2, "exe"),
        (["a.png", "out/", "--format", "png", "--format", "jpg"], 2, "Give only one"),
        (["a.png", "b.jpg", "--quality", "0"], 2, "quality is 0"),
        (["a.png", "b.jpg", "--device", "gpu"], 2, "device gpu is not available"),
        (["*.png"], 2, "needs a folder for the results"),
        (["none.png"], 4, "There is no file none.png"),
        (["none.png", "nor.png", "out/"], 4, "There is no file none.png or nor.png"),
        (["a.png", "a.png", "--overwrite"], 5, "would replace the file itself"),
        (["a.png", "x/a.png", "out"], 5, "would both be"),
        (["a.png", "x", "a.png"], 5, "is a file"),
        (["c*.png", "out"], 4, "pattern"),
        (["empty", "out"], 4, "no images or videos"),
        (["text.mp4", "out.mp4"], 4, "text.mp4"),
    ],
)
def test_invalid_run_is_reported_before_anything_is_done(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    Path("text.mp4").write_text("text")
    draw("a.png")
    draw("x/a.png")
    before = sorted(Path().rglob("*"))
    assert run(*arguments) == code
    output = capsys.readouterr()
    assert words in output.err
    assert not output.out
    assert sorted(Path().rglob("*")) == before


def test_dry_run_prints_sizes_and_an_estimate_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    draw("in/a.png")
    draw("in/b.png", size=(500, 100))
    before = sorted(Path().rglob("*"))
    assert run("in", "out", "--model", "spanx2_ch48", "--dry-run", "--format", "webp") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{Path('in/a.png')} -> {Path('out/a.webp')}: 20x14 to 40x28"
    assert lines[2].startswith("2 to upscale: 0.2 megapixels, 0.6 MB before compression. Estimated from a short run on ")
    assert run("none.png", "out.png", "--model", "spanx2_ch48", "--dry-run") == 4
    assert sorted(Path().rglob("*")) == before


def test_full_disk_ends_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    def upscale(_: Any, jobs: list[Job], *__: Any) -> Iterator[Outcome]:
        yield Outcome(jobs[0], "failed", errors.DiskFullError("No space left on device."))

    for name in ("a.png", "b.png", "c.png"):
        draw(name)
    options = upscale_command.build_parser().parse_intermixed_args(["*.png", "out", "--model", "spanx2_ch48"])
    assert upscale_command.run(options, upscale=upscale) == ExitCode.SOME_FAILED
    messages = capsys.readouterr().err
    assert "the disk is full; 2 of 3 files were not tried" in messages
    assert "a.png: No space left on device." in messages


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        run("--version")
    assert exit_info.value.code == 0
    assert capsys.readouterr().out.startswith("span-upscale ")


def test_video_is_encoded_with_the_chosen_options(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("av", reason="PyAV is not installed")
    from span_arch.video import compose, probe

    compose(Path("film.nut"), torch.rand(3, 24, 32, 3), Fraction(25))
    options = ["--codec", "h264", "--preset", "ultrafast", "--video-quality", "30", "--pixel-format", "yuv422p"]
    assert run("film.nut", "large.mkv", "--model", "spanx2_ch48", *options) == 0, capsys.readouterr().err
    assert probe(Path("large.mkv")).pixel_format == "yuv422p"
    assert all(words in Path("large.mkv").read_bytes() for words in (b"subme=0 ", b"crf=30.0 "))  # x264 writes its options into the file


def test_module_runs_the_command() -> None:
    run = subprocess.run([sys.executable, "-m", "span_arch", "--help"], capture_output=True, text=True, check=True)
    assert "Upscale images" in run.stdout
