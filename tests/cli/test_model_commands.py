"""``span-upscale info``, ``convert`` and ``evaluate``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import span_arch
from span_arch import cli
from span_arch.archs.span import SPAN

from ..batch.sample_files import draw


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> int:
    return cli.main([*arguments])


def test_info_describes_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    network = SPAN(feature_channels=8, blocks=2, scale=2, normalisation=None)
    span_arch.save(span_arch.from_state_dict(network.state_dict()), "network.safetensors", form="training")
    assert run("info", "network.safetensors") == 0
    lines = (line.split(":", 1) for line in capsys.readouterr().out.splitlines())
    facts = {name: fact.strip() for name, fact in lines}
    assert facts.pop("SHA-256") == span_arch.load("network.safetensors").source.sha256
    assert facts == {
        "architecture": "SPAN",
        "scale": "x2",
        "image channels": "3",
        "feature channels": "8",
        "blocks": "2",
        "parameters": f"{sum(p.numel() for p in network.parameters()):,}",
        "receptive field": "19x19 pixels",
        "normalisation": "none (stated in the file)",
        "precision": "float32",
        "activations": "bounded",
        "container": "safetensors",
        "form in the file": "training",
    }


@pytest.mark.parametrize("output", ["a.safetensors", "a.pth", "a.onnx", "a-x2.param"])
def test_convert_writes_every_container_and_replaces_only_with_overwrite(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("convert", "spanx2_ch48", output) == 0
    assert capsys.readouterr().out == f"{output}: SPAN x2, fused form, checked against the model\n"
    assert span_arch.load(output).hyperparameters == span_arch.load("spanx2_ch48").hyperparameters
    assert run("convert", "spanx2_ch48", output) == 5
    assert run("convert", output, output, "--overwrite") == 0


def test_convert_uses_form_dtype_and_normalisation() -> None:
    half = ["--form", "training", "--dtype", "float16", "--normalise", "none"]
    assert run("convert", "spanx2_ch48", "a.safetensors", *half) == 0
    model = span_arch.load("a.safetensors")
    assert (model.source.form, model.normalisation) == ("training", None)
    assert run("convert", "spanx2_ch48", "b.onnx", "--form", "training") == 2


def test_convert_reports_a_missing_package() -> None:
    Path("ncnn.py").write_text("raise ModuleNotFoundError")  # found before the package
    command = [sys.executable, "-m", "span_arch", "convert", "spanx2_ch48", "a.param"]
    environment = {**os.environ, "PYTHONPATH": f".{os.pathsep}{Path(__file__).parents[2]}"}
    process = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert process.returncode == 7, process.stderr
    assert "pip install ncnn" in process.stderr
    assert not Path("a.param").exists()


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


def test_evaluate_reports_missing_images_and_wrong_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", ".", "--model", "spanx2_ch48") == 4
    draw("a_LR.png")
    assert run("evaluate", ".", "--model", "spanx2_ch48") == 4
    draw("a_HR.png", size=(80, 56))
    assert run("evaluate", ".", "--model", "spanx2_ch48") == 4
    messages = capsys.readouterr().err
    assert all(words in messages for words in ("contains no images", "no partner: a.", "40x28, but the original is 80x56"))
