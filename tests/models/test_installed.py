"""The user's folders of models, and known models in them."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import span_arch
from span_arch import checkpoints, errors
from span_arch.models.catalogue import WEIGHTS, require_known
from span_arch.models.installed import MODEL_SUFFIXES, find_installed, locate, model_folders, require_installed

NETWORK = WEIGHTS / "spanx2_ch48.safetensors"


def found(folder: Path) -> dict[str, str | None]:
    return {str(file.path.relative_to(folder)): file.known and file.known.name for file in find_installed([folder])}


def test_folders_are_those_given_or_those_of_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPAN_MODELS", os.pathsep.join(["a", "", "b"]))
    assert model_folders() == (Path("a"), Path("b"))
    assert model_folders([Path("c")]) == (Path("c"),)
    monkeypatch.setenv("SPAN_MODELS", "")
    for variable in ("XDG_DATA_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    (folder,) = model_folders()
    assert tmp_path in folder.parents


def test_listed_suffixes_are_those_of_checkpoints() -> None:
    assert set(MODEL_SUFFIXES) == set(checkpoints.SUFFIXES) - {".bin"}


def test_known_files_are_recognised_by_their_content(tmp_path: Path) -> None:
    (tmp_path / "within").mkdir()
    shutil.copy(NETWORK, tmp_path / "within" / "renamed.weights")
    (tmp_path / "mine.pth").write_bytes(b"mine")
    (tmp_path / "notes.txt").write_bytes(b"notes")
    (tmp_path / "half.pth.part").write_bytes(b"half")
    (tmp_path / ".hidden.pth").write_bytes(b"hidden")
    assert found(tmp_path) == {"mine.pth": None, "within/renamed.weights": "spanx2_ch48"}
    assert found(tmp_path / "absent") == {}


@given(position=st.integers(0, NETWORK.stat().st_size - 1), change=st.integers(1, 255))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_byte_makes_a_file_unknown(tmp_path: Path, position: int, change: int) -> None:
    content = bytearray(NETWORK.read_bytes())
    content[position] ^= change
    (tmp_path / "spanx2_ch48.safetensors").write_bytes(content)
    assert found(tmp_path) == {"spanx2_ch48.safetensors": None}


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the super-user reads every file")
def test_a_file_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    shutil.copy(NETWORK, tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").chmod(0)
    assert found(tmp_path) == {}


def test_a_link_to_nothing_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.pth").symlink_to(tmp_path / "absent")
    assert found(tmp_path) == {}


def test_a_model_is_located_under_any_file_name(tmp_path: Path) -> None:
    shutil.copy(NETWORK, tmp_path / "renamed.safetensors")
    published = replace(require_known("spanx2_ch48"), builtin=False)
    assert locate(published, [tmp_path / "absent", tmp_path]) == tmp_path / "renamed.safetensors"
    assert locate(published, []) is None
    assert require_installed(published, [tmp_path]) == tmp_path / "renamed.safetensors"
    assert locate(require_known("spanx2_ch48"), [tmp_path]) == NETWORK


def test_case_and_punctuation_of_a_built_in_name_do_not_matter() -> None:
    assert span_arch.load("SPANX2-CH48").source.sha256 == require_known("spanx2_ch48").files[0].sha256


@pytest.mark.parametrize("name", ["4x-PurePhoto-span", "purephoto span"])
def test_a_known_model_that_is_not_installed_says_where_to_get_it(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPAN_MODELS", str(tmp_path))
    with pytest.raises(errors.CheckpointNotFoundError, match="span-upscale get 4x-PurePhoto-span") as caught:
        span_arch.load(name)
    assert str(tmp_path) in str(caught.value)


def test_a_missing_file_with_a_known_name_says_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(errors.CheckpointNotFoundError, match=r"does not exist.*Open https://mega\.nz") as caught:
        span_arch.load(tmp_path / "4x-ClearRealityV1.pth")
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(errors.CheckpointNotFoundError, match="Check its name and folder"):
        span_arch.load(tmp_path / "spanx4_ch48.pth")
