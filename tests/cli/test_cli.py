"""The command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import span_arch
from span_arch import cli, errors
from span_arch.archs.span import SPAN
from span_arch.batch import images
from span_arch.cli.interrupts import patient, stoppable


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def draw(path: str, mode: str = "RGB", size: tuple[int, int] = (20, 14), **settings: object) -> None:
    levels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 4), dtype=np.uint8)
    Image.fromarray(levels).convert("RGB" if mode == "P" else mode).convert(mode).save(path, **settings)


def run(*arguments: str) -> int:
    return cli.main([*arguments])


def opened(path: str) -> tuple[str, tuple[int, int]]:
    with Image.open(path) as file:
        return file.mode, file.size


@pytest.mark.parametrize(("mode", "result"), [("RGB", "RGB"), ("L", "L"), ("RGBA", "RGBA"), ("P", "RGB"), ("1", "L"), ("LA", "RGBA")])
def test_pictures_of_every_mode(mode: str, result: str, capsys: pytest.CaptureFixture[str]) -> None:
    draw("in.png", mode)
    assert run("in.png", "out.png", "--model", "spanx2_ch48") == 0
    assert opened("out.png") == (result, (40, 28))
    assert capsys.readouterr().out.startswith("out.png: 20x14 to 40x28 in ")


def test_sixteen_bits_of_grey() -> None:
    Image.fromarray(np.full((9, 9), 32768, dtype=np.uint16)).save("in.png")
    assert run("in.png", "out.png", "--model", "spanx2_ch48") == 0
    with Image.open("out.png") as file:
        assert abs(int(np.array(file)[9, 9]) - 32768) < 8 * 257


def test_a_picture_is_turned_as_its_camera_says_and_keeps_its_profile() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    draw("in.jpg", exif=exif, dpi=(300, 300), icc_profile=b"profile")
    assert run("in.jpg", "out.png", "--model", "spanx2_ch48") == 0
    with Image.open("out.png") as file:
        assert file.size == (28, 40)
        assert file.info["icc_profile"] == b"profile"
        assert file.info["dpi"] == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize("name", ["out.jpg", "out.webp", "out.tiff", "out.PNG"])
def test_the_suffix_chooses_the_format(name: str) -> None:
    draw("in.png")
    assert run("in.png", name, "--model", "spanx2_ch48", "--tile", "16", "--precision", "float32") == 0
    assert opened(name)[1] == (40, 28)


def damaged(path: str) -> None:
    draw(path)
    Path(path).write_bytes(Path(path).read_bytes()[:300])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["in.png", "out.png", "--model", "spanx9"], 3, "nor a built-in network"),
        (["in.png", "out.png", "--model", "page.pth"], 3, "web page"),
        (["in.png", "out.png", "--model", "half.param"], 3, "half.bin"),
        (["none.png", "out.png"], 4, "no file"),
        (["page.pth", "out.png"], 4, "not an image"),
        (["damaged.png", "out.png"], 4, "damaged"),
        (["in.png", "out.xyz"], 5, "not an image format"),
        (["in.png", "none/out.png"], 5, "no folder"),
        (["in.png", "."], 5, "would replace that file itself"),
        (["alpha.png", "out.jpg"], 5, "transparency"),
        (["info", "page.pth"], 3, "web page"),
        (["evaluate", "none", "--model", "spanx2_ch48"], 4, "no folder"),
    ],
)
def test_an_error_is_one_sentence_and_a_code(arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    draw("in.png")
    draw("alpha.png", "RGBA")
    damaged("damaged.png")
    Path("page.pth").write_text("<html>")
    Path("half.param").write_text("7767517\n0 0\n")
    before = sorted(Path().iterdir())
    assert run(*arguments) == code
    told = capsys.readouterr()
    assert words in told.err
    assert told.err.startswith("span-upscale: ")
    assert "Traceback" not in told.err
    assert not told.out
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["in.png"],
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
def test_a_command_line_that_makes_no_sense(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 2
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
def test_the_size_can_be_asked_for(options: str, size: tuple[int, int], capsys: pytest.CaptureFixture[str]) -> None:
    draw("in.png")
    assert run("in.png", "out.png", "--model", "spanx2_ch48", *options.split()) == 0
    assert opened("out.png") == ("RGB", size)
    assert capsys.readouterr().out.startswith(f"out.png: 20x14 to {size[0]}x{size[1]} in ")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--scale 0", "Expected a number above 0"),
        ("--scale -2", "factor is -2.0"),
        ("--scale nan", "factor is nan"),
        ("--size 0x10", "width is 0"),
        ("--longest -3", "longest side is -3"),
        ("--megapixels 0", "megapixels is 0.0"),
        ("--scale 2 --longest 100", "by --scale and --longest; give only one"),
        ("--fit fill --longest 100", "--fit fill tells how a picture meets --size, which is absent"),
    ],
)
def test_a_size_that_makes_no_sense_is_told_before_anything_is_read(options: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("none.png", "out.png", *options.split()) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1


def test_an_existing_file_is_replaced_only_if_asked(capsys: pytest.CaptureFixture[str]) -> None:
    draw("in.png")
    Path("out.png").write_text("mine")
    assert run("in.png", "out.png", "--model", "spanx2_ch48") == 5
    assert Path("out.png").read_text() == "mine"
    assert "already exists" in capsys.readouterr().err
    assert run("in.png", "out.png", "--model", "spanx2_ch48", "--overwrite") == 0
    assert opened("out.png") == ("RGB", (40, 28))


def test_transparency_textures_and_the_ensemble() -> None:
    draw("in.png", "RGBA")
    small = ["in.png", "--model", "spanx2_ch48", "--precision", "float32"]
    assert run(*small, "plain.png") == 0
    assert run(*small, "white.jpg", "--alpha", "255,255,255") == 0
    assert run(*small, "model.png", "--alpha", "model") == 0
    assert run(*small, "seamless.png", "--seamless", "xy") == 0
    assert run(*small, "ensemble.png", "--ensemble") == 0
    assert opened("white.jpg") == ("RGB", (40, 28))
    results = [f"{name}.png" for name in ("plain", "model", "seamless", "ensemble")]
    assert {opened(result) for result in results} == {("RGBA", (40, 28))}
    assert len({Path(result).read_bytes() for result in results}) == 4


def test_ctrl_c_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    draw("in.png")
    monkeypatch.setattr(images, "upscale_frames", interrupted)
    assert run("in.png", "out.png") == 130
    assert "stopped" in capsys.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["in.png"]


def test_a_folder_is_upscaled_and_what_failed_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("in/a.png", "in/b.png", "in/sub/c.png", "in/sub/d.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        draw(name)
    damaged("in/b.png")
    Path("in/notes.txt").touch()
    assert run("in", "out", "--model", "spanx2_ch48", "--recursive") == 1
    told = capsys.readouterr()
    lines = told.err.splitlines()
    assert lines[0] == "span-upscale: 1 failed:"
    assert lines[1].startswith(f"  {Path('in/b.png')}: ")
    assert len(lines) == 2
    assert told.out.startswith("3 done, 1 failed in ")
    assert "Ignored, being neither pictures nor videos: 1" in told.out
    assert sorted(path.as_posix() for path in Path("out").rglob("*.png")) == ["out/a.png", "out/sub/c.png", "out/sub/d.png"]


def test_a_second_run_does_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    draw("a.png")
    draw("b.png")
    assert run("a.png", "--model", "spanx2_ch48", f"out{os.sep}") == 0
    assert run("*.png", "out", "--model", "spanx2_ch48", "--skip-existing", "--verbose") == 0
    told = capsys.readouterr().out
    assert f"{Path('out/a.png')}: skipped" in told
    assert f"{Path('out/b.png')}: 20x14 to 40x28." in told
    assert "1 done, 1 skipped in" in told
    assert run("a.png", "b.png", "out", "--model", "spanx2_ch48") == 1
    assert capsys.readouterr().err.count("already exists") == 2
    assert run("a.png", "--overwrite", "b.png", "--model", "spanx2_ch48", "out") == 0


def test_formats_and_qualities_are_for_all_files() -> None:
    draw("a.png", size=(60, 60))
    for quality in ("20", "95"):
        assert run("a.png", f"{quality}{os.sep}", "--model", "spanx2_ch48", "--format", "jpg", "--quality", quality) == 0
    assert Path("20/a.jpg").stat().st_size < Path("95/a.jpg").stat().st_size / 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["a.png", "b.jpg", "--format", "png"], 2, "--format is for folders"),
        (["a.png", "out/", "--format", "exe"], 2, "not an image format"),
        (["a.png", "out/", "--format", "png", "--format", "jpg"], 2, "give one"),
        (["a.png", "b.jpg", "--quality", "0"], 2, "expected 1 to 100"),
        (["a.png", "a.png", "--overwrite"], 5, "would replace that file itself"),
        (["a.png", "x/a.png", "out"], 5, "would both be"),
        (["a.png", "x", "a.png"], 5, "is a file"),
        (["c*.png", "out"], 4, "pattern"),
        (["empty", "out"], 4, "no picture and no video"),
        (["text.mp4", "out.mp4"], 4, "cannot be read as a video"),
    ],
)
def test_what_makes_no_sense_is_told_before_anything_is_done(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    Path("x").mkdir()
    Path("text.mp4").write_text("text")
    draw("a.png")
    draw("x/a.png")
    before = sorted(Path().rglob("*"))
    assert run(*arguments) == code
    told = capsys.readouterr()
    assert words in told.err
    assert not told.out
    assert sorted(Path().rglob("*")) == before


def test_a_dry_run_tells_sizes_and_an_estimate_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Path("in").mkdir()
    draw("in/a.png")
    draw("in/b.png", size=(500, 100))
    before = sorted(Path().rglob("*"))
    assert run("in", "out", "--model", "spanx2_ch48", "--dry-run", "--format", "webp") == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"{Path('in/a.png')} -> {Path('out/a.webp')}: 20x14 to 40x28"
    assert told[2].startswith("2 to upscale: 0.2 megapixels, 0.6 MB before they are compressed. Estimated from a short run on ")
    assert run("none.png", "out.png", "--model", "spanx2_ch48", "--dry-run") == 4
    assert sorted(Path().rglob("*")) == before


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(*_: object, **__: object) -> None:
        raise errors.DiskFullError("The disk is full.")

    for name in ("a.png", "b.png", "c.png", "d.png", "e.png", "f.png", "g.png", "h.png"):
        draw(name)
    monkeypatch.setattr(images, "write_images", full)
    assert run("*.png", "out", "--model", "spanx2_ch48") == 1
    assert "there is no room left; 7 of 8 files were not tried" in capsys.readouterr().err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("--version")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("span-upscale ")


def test_a_signal_ends_it_at_once_or_when_that_suits() -> None:
    def at_once() -> None:
        signal.raise_signal(signal.SIGTERM)

    def when_that_suits() -> None:
        with patient() as check:
            check()
            signal.raise_signal(signal.SIGTERM)
            kept.append(True)
            check()

    kept: list[bool] = []
    before = signal.getsignal(signal.SIGTERM)
    for work in (at_once, when_that_suits):
        with pytest.raises(KeyboardInterrupt), stoppable():
            work()
        assert signal.getsignal(signal.SIGTERM) is before
    assert kept


def test_info_tells_what_a_model_is(capsys: pytest.CaptureFixture[str]) -> None:
    network = SPAN(feature_channels=8, blocks=2, scale=2, normalisation=None)
    span_arch.save(span_arch.from_state_dict(network.state_dict()), "network.safetensors", form="training")
    assert run("info", "network.safetensors") == 0
    told = dict(line.split(":", 1) for line in capsys.readouterr().out.splitlines())
    told = {name: fact.strip() for name, fact in told.items()}
    assert told.pop("SHA-256") == span_arch.load("network.safetensors").source.sha256
    assert told == {
        "architecture": "SPAN",
        "scale": "x2",
        "image channels": "3",
        "feature channels": "8",
        "blocks": "2",
        "parameters": f"{sum(p.numel() for p in network.parameters()):,}",
        "receptive field": "19x19 pixels (9 to each side)",
        "normalisation": "none (stated in the file)",
        "precision": "float32",
        "container": "safetensors",
        "form in the file": "training",
    }


def test_a_video_is_encoded_as_asked(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("av", reason="PyAV is not installed")
    from span_arch.video import compose, probe

    compose(Path("film.nut"), torch.rand(3, 24, 32, 3), Fraction(25))
    how = ["--codec", "h264", "--preset", "ultrafast", "--video-quality", "30", "--pixel-format", "yuv422p"]
    assert run("film.nut", "large.mkv", "--model", "spanx2_ch48", *how) == 0, capsys.readouterr().err
    assert probe(Path("large.mkv")).pixel_format == "yuv422p"
    assert all(words in Path("large.mkv").read_bytes() for words in (b"subme=0 ", b"crf=30.0 "))  # as x264 writes of itself


@pytest.mark.parametrize("output", ["a.safetensors", "a.pth", "a.onnx", "a-x2.param"])
def test_convert_writes_for_others_and_replaces_only_if_asked(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("convert", "spanx2_ch48", output) == 0
    assert capsys.readouterr().out == f"{output}: SPAN x2, fused, tried and compared\n"
    assert span_arch.load(output).hyperparameters == span_arch.load("spanx2_ch48").hyperparameters
    assert run("convert", "spanx2_ch48", output) == 5
    assert run("convert", output, output, "--overwrite") == 0


def test_convert_takes_form_type_and_normalisation() -> None:
    half = ["--form", "training", "--dtype", "float16", "--normalise", "none"]
    assert run("convert", "spanx2_ch48", "a.safetensors", *half) == 0
    model = span_arch.load("a.safetensors")
    assert (model.source.form, model.normalisation) == ("training", None)
    assert run("convert", "spanx2_ch48", "b.onnx", "--form", "training") == 2


def test_convert_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "ncnn", None)
    assert run("convert", "spanx2_ch48", "a.param") == 7
    assert "pip install ncnn" in capsys.readouterr().err
    assert not list(Path().iterdir())


def test_evaluate_compares_every_pair(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        draw(f"{name}_LR.png")
        with Image.open(f"{name}_LR.png") as file:
            file.resize((41, 28)).save(f"{name}_HR.png")  # wider by less than the scale, as in benchmarks
    assert run("evaluate", ".", "--model", "spanx2_ch48") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["PSNR/dB", "a", "b", "mean"]
    assert lines[1].split()[1:] == lines[3].split()[1:]
    assert run("evaluate", ".", "--model", "spanx2_ch48", "--ensemble") == 0
    assert capsys.readouterr().out.splitlines() != lines


def test_evaluate_says_what_is_missing_or_of_the_wrong_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", ".", "--model", "spanx2_ch48") == 4
    draw("a_LR.png")
    assert run("evaluate", ".", "--model", "spanx2_ch48") == 4
    draw("a_HR.png", size=(80, 56))
    assert run("evaluate", ".", "--model", "spanx2_ch48") == 4
    told = capsys.readouterr().err
    assert all(words in told for words in ("holds no pictures", "a lacks its HR", "40x28 large, but its original is 80x56"))


def test_psnr_and_ssim_of_known_pictures() -> None:
    from span_arch.image_ops.metrics import quality

    flat = torch.full((32, 32, 3), 100 / 255)
    assert quality(flat, flat, border=4).psnr == float("inf")
    assert quality(flat, flat, border=4).ssim == pytest.approx(1)
    grey_up = quality(flat + 10 / 255, flat, border=0)  # luma spans 219 of 255 levels
    assert grey_up.psnr == pytest.approx(20 * np.log10(255 / (10 * 219 / 255)), abs=1e-6)


def test_the_module_is_the_command() -> None:
    run = subprocess.run([sys.executable, "-m", "span_arch", "--help"], capture_output=True, text=True, check=True)
    assert "Upscales pictures" in run.stdout
