"""Files are written whole or not at all, with the permissions that the umask leaves."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from span_arch._util.files import check_output, make_folder, move, replacing
from span_arch.errors import DiskFullError, OutputError


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_new_files_have_the_mode_that_the_umask_leaves(tmp_path: Path) -> None:
    program = """
import os
from pathlib import Path
from span_arch._util.files import replacing

for umask in (0o000, 0o022, 0o027, 0o077):
    os.umask(umask)  # after the import, as a host may do
    for durable in (False, True):
        with replacing(Path(f"{umask}{durable}"), overwrite=False, durable=durable) as temporary:
            temporary.write_text("text")
        print(f"{umask:03o}: {Path(f'{umask}{durable}').stat().st_mode & 0o777:03o}")
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)
    expected = ("000: 666", "022: 644", "027: 640", "077: 600")
    assert run.stdout.splitlines() == [line for line in expected for _ in range(2)]


def test_temporary_files_are_hidden_next_to_the_target_with_its_suffix(tmp_path: Path) -> None:
    target = tmp_path / "result.tar.gz"
    target.write_text("old")
    with replacing(target, overwrite=True) as first, replacing(target, overwrite=True) as second:
        assert first != second
        for temporary in (first, second):
            assert temporary.parent == tmp_path
            assert temporary.suffix == ".gz"
            assert temporary.name.startswith(".result")
            temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_failure_within_the_block_keeps_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail_half_way() -> None:
        with replacing(target, overwrite=True) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail_half_way()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_file_that_appears_during_the_work_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with pytest.raises(OutputError, match="already exists"), replacing(target, overwrite=False):
        target.write_text("of another process")
    assert target.read_text() == "of another process"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, DiskFullError), (errno.EDQUOT, DiskFullError), (errno.EROFS, OutputError)])
def test_system_errors_become_output_errors(tmp_path: Path, number: int, kind: type[OutputError]) -> None:
    with pytest.raises(OutputError) as caught, replacing(tmp_path / "a.txt", overwrite=False):
        raise OSError(number, os.strerror(number))
    assert type(caught.value) is kind
    assert str(caught.value) == f"{tmp_path / 'a.txt'} cannot be written: {os.strerror(number)}."
    assert not list(tmp_path.iterdir())


def test_unusable_targets_are_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    for target, words in [
        (tmp_path, "is a folder"),
        (tmp_path / "a.txt", "already exists"),
        (tmp_path / "none" / "a.txt", "no folder"),
        (tmp_path / ("x" * 300), "cannot be written"),
    ]:
        with pytest.raises(OutputError, match=words):
            check_output(target, overwrite=False)
    check_output(tmp_path / "a.txt", overwrite=True)
    check_output(tmp_path / "b.txt", overwrite=False)


def test_folder_in_place_of_a_file_cannot_be_created(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be created"):
        make_folder(tmp_path / "file" / "a")


def test_moved_file_replaces_its_target(tmp_path: Path) -> None:
    source, target = tmp_path / "a.txt", tmp_path / "b.txt"
    source.write_text("new")
    target.write_text("old")
    move(source, target)
    assert target.read_text() == "new"
    with pytest.raises(OutputError, match="cannot be written"):
        move(source, target)
