"""``span-upscale completion``: the scripts, asked in the shells that are installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import span_arch
from span_arch import cli

SHELLS = ("bash", "zsh", "fish")

ASK_BASH = """
source ./script
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 ))
_span_upscale
printf '%s\\n' "${COMPREPLY[@]}"
"""


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["completion", shell]) == 0
    return capsys.readouterr().out


def ask(shell: str, line: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return what a shell offers after a line, in which an underscore stands for an empty last word."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    (folder / "script").write_text(script(shell, capsys))
    words = ["" if word == "_" else word for word in line.split()]
    if shell == "bash":
        command = [program, "--norc", "-c", ASK_BASH, "bash", *words]
    else:
        command = [program, "--no-config", "-c", f"source ./script; complete -C '{' '.join(words)}'"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert not run.stderr
    return [reply.split("\t")[0] for reply in run.stdout.splitlines() if reply]


@pytest.mark.parametrize("shell", ["bash", "fish"])
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("span-upscale inf", {"info"}),
        ("span-upscale --mod", {"--model"}),
        ("span-upscale --ens", {"--ensemble"}),
        ("span-upscale a.png --precision _", {"auto", "float32", "float16", "bfloat16"}),
        ("span-upscale --codec prores", {"prores"}),
        ("span-upscale --model span", {*span_arch.builtin_names()}),
        ("span-upscale --model ne", {"net work.pth"}),
        ("span-upscale info spanx2", {"spanx2_ch48", "spanx2_ch52"}),
        ("span-upscale info --ens", set[str]()),
        ("span-upscale convert a.pth b.pth --form _", {"fused", "training"}),
        ("span-upscale completion zs", {"zsh"}),
        ("span-upscale ne", {"net work.pth"}),
    ],
)
def test_shell_offers_what_fits(shell: str, line: str, offered: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net work.pth").touch()
    assert {reply.replace("\\ ", " ") for reply in ask(shell, line, tmp_path, capsys)} == offered


def test_bash_offers_values_after_an_equals_sign(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask("bash", "span-upscale --precision = fl", tmp_path, capsys) == ["float32", "float16"]
    assert ask("bash", "span-upscale --filter =", tmp_path, capsys) == ["lanczos", "bicubic", "area"]


@pytest.mark.parametrize("shell", SHELLS)
def test_script_is_valid_and_holds_every_option(shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = script(shell, capsys)
    for command in ("", "info", "convert", "evaluate", "completion"):
        with pytest.raises(SystemExit):
            cli.main([*filter(None, [command]), "--help"])
        for option in re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out):
            assert (f"-l {option[2:]}" if shell == "fish" else option) in text
    program = shutil.which(shell)
    if program is not None:
        (tmp_path / "script").write_text(text)
        subprocess.run([program, "-n", tmp_path / "script"], check=True)


@pytest.mark.parametrize("line", ["bash", "zsh"])
def test_line_for_the_start_file_is_in_the_help(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["completion", "--help"])
    assert line in capsys.readouterr().out
