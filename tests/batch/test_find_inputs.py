"""Finding the files to upscale and naming their results."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from span_arch import errors
from span_arch.batch import Formats, find, parse_formats


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def make_files(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def pairs(*inputs: str, output: str = "out", **options: Any) -> list[tuple[str, str]]:
    """Return sources and targets as text."""
    return [(source.as_posix(), target.as_posix()) for source, target in find(inputs, output, **options).pairs]


def test_single_file_goes_to_a_file_or_into_a_folder() -> None:
    make_files("a.png", "there/b.png")
    assert pairs("a.png", output="b.jpg") == [("a.png", "b.jpg")]
    assert pairs("a.png", output="there") == [("a.png", "there/a.png")]
    assert pairs("a.png", output=f"new{os.sep}") == [("a.png", "new/a.png")]
    assert pairs("a.png", "there/b.png") == [("a.png", "out/a.png"), ("there/b.png", "out/b.png")]


def test_folder_keeps_its_structure() -> None:
    make_files("in/b.png", "in/A.JPG", "in/notes.txt", "in/.hidden.png", "in/.cache/a.png", "in/sub/写真 1.webp", "in/sub/film.mp4")
    assert pairs("in") == [("in/A.JPG", "out/A.JPG"), ("in/b.png", "out/b.png")]
    inside = [("in/sub/film.mp4", "out/sub/film.mp4"), ("in/sub/写真 1.webp", "out/sub/写真 1.webp")]
    assert pairs("in", recursive=True) == [*pairs("in"), *inside]
    assert find(["in"], "out").ignored == (Path("in/notes.txt"),)


def test_patterns_match_as_in_shells() -> None:
    make_files("a1.png", "a2.png", "b.png", "sub/a3.png", "[x].png")
    assert pairs("a*.png") == [("a1.png", "out/a1.png"), ("a2.png", "out/a2.png")]
    assert pairs("**/a3.png") == [("sub/a3.png", "out/a3.png")]
    assert pairs("[x].png", output="b2.png") == [("[x].png", "b2.png")]  # the file of that name, not the pattern
    with pytest.raises(errors.ImageError, match=r"No file matches the pattern c\*\.png"):
        find(["c*.png"], "out")


def test_format_is_that_of_the_source_unless_it_is_chosen_or_cannot_be_written() -> None:
    make_files("in/a.psd", "in/b.avi", "in/c.jpg", "in/d.mov", "scan")
    assert [target for _, target in pairs("in")] == ["out/a.png", "out/b.mkv", "out/c.jpg", "out/d.mov"]
    chosen = parse_formats(["webp", ".MP4"])
    assert [target for _, target in pairs("in", formats=chosen)] == ["out/a.webp", "out/b.mp4", "out/c.webp", "out/d.mp4"]
    assert pairs("scan", "in/c.jpg")[0] == ("scan", "out/scan.png")


@pytest.mark.parametrize("names", [["exe"], ["png", "jpg"], ["mp4", "mkv"], ["avi"]])
def test_unknown_unwritable_and_contradicting_formats_are_rejected(names: list[str]) -> None:
    with pytest.raises(errors.OptionError):
        parse_formats(names)


def test_results_never_replace_inputs_or_become_inputs() -> None:
    make_files("in/a.png", "in/out/a.png", "in/out/deep/b.png")
    assert pairs("in", output="in/out", recursive=True) == [("in/a.png", "in/out/a.png")]
    with pytest.raises(errors.OutputError, match=r"output folder in/\.\./in is also an input"):
        find(["in"], "in/../in")
    with pytest.raises(errors.OutputError, match="would replace the file itself"):
        find(["in/a.png"], "in/a.png")
    with pytest.raises(errors.OutputError, match=r"would replace the input in.out.a\.png"):
        find(["in/a.png", "in/out/a.png"], "in/out")


@pytest.mark.parametrize("inputs", [("x/a.png", "y/a.png"), ("x", "y"), ("z",)])
def test_two_results_of_one_name_are_rejected_and_both_sources_named(inputs: tuple[str, ...]) -> None:
    make_files("x/a.png", "y/a.png", "z/b.jpg", "z/b.png")
    with pytest.raises(errors.OutputError, match=r"[xz].[ab].(png|jpg) and [yz].[ab].png would both be out"):
        find(inputs, "out", formats=Formats("png"))


def test_input_named_twice_is_found_once() -> None:
    make_files("in/a.png")
    assert pairs("in", "in/a.png", "in/../in/a.png") == [("in/a.png", "out/a.png")]


def test_inputs_without_images_are_reported() -> None:
    make_files("in/notes.txt", "in/sub/a.png")
    with pytest.raises(errors.ImageError, match=r"no images or videos in in \(files of other kinds: 1\)"):
        find(["in"], "out")


def test_output_that_is_a_file_is_rejected_for_several_inputs() -> None:
    make_files("in/a.png", "file.png")
    with pytest.raises(errors.OutputError, match=r"file\.png is a file"):
        find(["in", "file.png"], "file.png")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_links_to_files_are_followed_and_links_to_folders_are_not() -> None:
    make_files("elsewhere/a.png", "in/sub/b.png")
    Path("in/link.png").symlink_to(Path("elsewhere/a.png").absolute())
    Path("in/sub/loop").symlink_to(Path("in").absolute())
    Path("in/itself.png").symlink_to(Path("in/itself.png").absolute())
    Path("in/other").symlink_to(Path("elsewhere").absolute())
    os.mkfifo("in/pipe.png")  # reading it would block
    names = [source for source, _ in pairs("in", recursive=True)]
    assert names == ["in/itself.png", "in/link.png", "in/sub/b.png"]  # the first one fails when it is read
    assert set(find(["in"], "out", recursive=True).ignored) == {Path("in/other"), Path("in/pipe.png"), Path("in/sub/loop")}
    Path("replaced.png").symlink_to("elsewhere/a.png")
    with pytest.raises(errors.OutputError, match="would replace"):
        find(["elsewhere/a.png"], "replaced.png")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root can read every folder")
def test_unreadable_folder_is_reported_and_the_others_are_searched() -> None:
    make_files("in/a.png", "in/closed/b.png")
    Path("in/closed").chmod(0)
    try:
        found = find(["in"], "out", recursive=True)
    finally:
        Path("in/closed").chmod(0o700)
    assert [source.name for source, _ in found.pairs] == ["a.png"]
    assert "closed cannot be read: Permission denied" in str(found.errors[0])


FOLDERS = ("", "x", "y", "x/y", "x/x", "out", "x/out")
names = st.sampled_from(["a.png", "b.jpg", "a.jpg", "b.psd", "c.mp4", "c.avi", "d.txt", ".e.png", "é.webp"])
folders = st.sampled_from(FOLDERS)


@settings(max_examples=200)
@given(
    tree=st.sets(st.tuples(folders, names), min_size=1, max_size=12),
    inputs=st.lists(folders.map(lambda folder: folder or "."), min_size=1, max_size=3),
    output=folders.filter(bool),
    recursive=st.booleans(),
    image_format=st.sampled_from([None, "png"]),
)
def test_targets_differ_from_inputs_and_from_each_other(
    tree: set[tuple[str, str]], inputs: list[str], output: str, recursive: bool, image_format: str | None
) -> None:
    with tempfile.TemporaryDirectory() as root:
        for folder in FOLDERS:
            Path(root, folder).mkdir(exist_ok=True, parents=True)
        for folder, name in tree:
            Path(root, folder, name).touch()
        before = {path: path.stat().st_mtime_ns for path in Path(root).rglob("*")}
        try:
            found = find([Path(root, name) for name in inputs], Path(root, output), recursive=recursive, formats=Formats(image_format))
        except errors.SpanArchError:
            return
        sources, targets = ([path.resolve() for path in side] for side in zip(*found.pairs, strict=True))
        assert len(set(targets)) == len(targets)
        assert not set(sources) & set(targets)
        assert all(path.is_file() and not path.name.startswith(".") for path in sources)
        assert all(path.is_relative_to(Path(root, output).resolve()) for path in targets)
        assert {path: path.stat().st_mtime_ns for path in Path(root).rglob("*")} == before
