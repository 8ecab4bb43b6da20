"""The known models: their facts, names and files."""

from __future__ import annotations

import json
import re
import runpy
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import span_arch
from span_arch import errors
from span_arch.models.catalogue import PURPOSES, KnownModel, find_known, known_models, recognise, require_known

ROOT = Path(__file__).parents[2]
MODELS = known_models()
PUBLISHED = [model for model in MODELS if not model.builtin]


def test_the_built_in_networks_are_known() -> None:
    builtin = [model for model in MODELS if model.builtin]
    assert tuple(model.name for model in builtin) == span_arch.builtin_names()
    for model in builtin:
        loaded = span_arch.load(model.name)
        assert (loaded.scale, loaded.source.metadata["license"]) == (model.scale, model.licence)
        assert recognise(loaded.source.sha256) is model


def test_facts_are_complete() -> None:
    assert len(PUBLISHED) == 34
    for model in PUBLISHED:
        assert model.name.startswith(f"{model.scale}x-")
        assert model.author
        assert model.purpose in PURPOSES
        assert model.files
        for file in model.files:
            assert len(bytes.fromhex(file.sha256)) == 32
            assert file.size > 100_000
            assert file.suffix in (".pth", ".safetensors", ".onnx")
            assert all(urlsplit(address).scheme == "https" for address in file.addresses)
            assert file.addresses


def test_facts_are_those_of_openmodeldb(data: Path) -> None:
    """Checksums that OpenModelDB states for two models are left out."""
    theirs = json.loads((data / "catalogue.json").read_text())
    count = Counter(file["sha256"] for facts in theirs for file in facts["files"])
    for facts in theirs:
        model = require_known(facts["id"])
        assert (model.author, model.licence, model.scale) == (facts["author"], facts["licence"], facts["scale"])
        files = {(file["size"], file["sha256"], tuple(file["urls"])) for file in facts["files"] if count[file["sha256"]] == 1}
        assert {(file.size, file.sha256, file.addresses) for file in model.files} == files


def test_no_name_or_checksum_belongs_to_two_models() -> None:
    checksums = Counter(file.sha256 for model in MODELS for file in model.files)
    names = Counter(model.name.lower() for model in MODELS)
    assert max(*checksums.values(), *names.values()) == 1
    for model in MODELS:
        assert find_known(model.name) is model
        assert find_known(model.file_name) is model


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("4x-PurePhoto-span", "4x-PurePhoto-span"),
        ("4XPUREPHOTO_SPAN", "4x-PurePhoto-span"),
        ("PurePhoto span", "4x-PurePhoto-span"),
        ("photos/4xPurePhoto-span.PTH", "4x-PurePhoto-span"),
        ("StarSample V2.0 Lite", "2x-StarSample-V2-Lite"),
        ("2xLiveActionV1_SPAN_490000.pth", "2x-LiveActionV1-SPAN"),
        ("spanx4_ch48", "spanx4_ch48"),
        ("4x-spanx4-ch48", "4x-spanx4-ch48"),
    ],
)
def test_models_are_found_by_any_of_their_names(name: str, expected: str) -> None:
    assert require_known(name).name == expected


@pytest.mark.parametrize("name", ["", ".pth", "photo", "folder/", "4x-PurePhoto-span-2"])
def test_other_names_are_unknown(name: str) -> None:
    assert find_known(name) is None


@pytest.mark.parametrize(("name", "meant"), [("purephoto", "4x-PurePhoto-span"), ("4x-ClearRealtyV2", "4x-ClearRealityV1")])
def test_similar_names_are_offered(name: str, meant: str) -> None:
    with pytest.raises(errors.CheckpointNotFoundError, match=f"{name} is not a known model. Did you mean {meant}"):
        require_known(name)
    with pytest.raises(errors.CheckpointNotFoundError, match=f"nor a known model. Did you mean {meant}"):
        span_arch.load(name)


def test_a_name_without_likeness_refers_to_the_list() -> None:
    with pytest.raises(errors.CheckpointNotFoundError, match="Run 'span-upscale models'"):
        require_known("qqqqqqqq")


HOSTS_OF_PAGES = ("mega.nz", "drive.google.com")


@pytest.mark.parametrize("model", PUBLISHED, ids=lambda model: model.name)
def test_only_addresses_of_files_are_downloaded(model: KnownModel) -> None:
    for file in model.files:
        assert all(urlsplit(address).hostname not in HOSTS_OF_PAGES for address in file.downloads)
        assert all(address.endswith((".pth", ".safetensors", ".onnx")) for address in file.downloads)
    if model.file_to_download is None:
        assert model.page in model.where_to_get(Path("models"))
    else:
        assert f"span-upscale get {model.name}" in model.where_to_get(Path("models"))
        assert "/" not in model.file_name


def test_licence_texts_name_the_terms() -> None:
    assert require_known("4x-ClearRealityV1").licence_text == (
        "CC-BY-NC-SA-4.0 (name the author, no commercial use, changed versions under the same licence)"
    )
    assert require_known("2x-ModernSpanimationV1").licence_text == "MIT"
    assert "not stated" in require_known("2x-span-anime-pretrain").licence_text


def test_the_catalogue_is_in_the_wheel() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    assert '"models/catalogue.json"' in project


def test_the_page_of_models_is_up_to_date() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "make_models_page.py"))
    assert script["page"]() == script["PAGE"].read_text("utf-8"), "run scripts/make_models_page.py"


def test_the_table_of_the_readme_holds_known_models() -> None:
    names = re.findall(r"\b[124]x-[\w-]+", (ROOT / "README.md").read_text("utf-8"))
    assert len(names) > 5
    assert [name for name in names if find_known(name) is None] == []
