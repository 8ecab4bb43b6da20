"""The known models: the built-in networks, and files that others publish. This module needs no torch.

``catalogue.json`` holds the facts, as OpenModelDB publishes them. It leaves out a checksum that OpenModelDB states for two models, since
that checksum would recognise one of them wrongly. The built-in networks have no files there: their facts come from their files.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .._util.text import join_words
from ..errors import CheckpointNotFoundError

PURPOSES = {
    "photo": "photographs and general use",
    "anime": "anime, cartoons and drawings",
    "restoration": "images and videos with compression artefacts",
    "pixel art": "pixel art",
    "textures": "game textures",
    "x1": "cleaning or converting images that keep their size (x1)",
    "training": "a start for training",
}
"""The purposes in the order of listings, each with what its models are for."""

_TERMS = {"BY": "name the author", "NC": "no commercial use", "SA": "changed versions under the same licence"}

WEIGHTS = Path(__file__).parents[1] / "weights"
"""The folder of the built-in networks."""

_FACTS = Path(__file__).with_suffix(".json")


@dataclass(frozen=True)
class KnownFile:
    """A file of a known model."""

    suffix: str
    size: int
    """Bytes."""
    sha256: str
    """The checksum in hexadecimal."""
    addresses: tuple[str, ...]
    """Web addresses of the file itself, or of pages that lead to it. The built-in files have none."""

    @property
    def downloads(self) -> tuple[str, ...]:
        """The addresses of the file itself. The others are pages and archives, which only a person can use."""
        return tuple(address for address in self.addresses if _last_part(address).lower().endswith(self.suffix))

    def matches(self, path: Path) -> bool:
        """Return True if a file has this content. Only a file of the right size is read."""
        return path.stat().st_size == self.size and file_sha256(path) == self.sha256


@dataclass(frozen=True)
class KnownModel:
    """The facts about a known model."""

    name: str
    """The unique name, such as ``4x-ClearRealityV1``."""
    title: str
    """The author's name for it."""
    author: str
    licence: str | None
    """The SPDX identifier. None if the author does not state a licence."""
    scale: int
    purpose: str
    """A key of `PURPOSES`."""
    tags: tuple[str, ...]
    """Finer purposes and kinds of images."""
    files: tuple[KnownFile, ...]
    """The same network in one or more formats, the preferred one first."""
    builtin: bool = False
    """True for a network in this package."""

    @property
    def label(self) -> str:
        """The unique name, followed by the author's name if that differs."""
        return self.name if self.title == self.name else f"{self.name} ({self.title})"

    @property
    def licence_text(self) -> str:
        """The licence, and what it demands where its name says so."""
        if self.licence is None:
            return "not stated: ask the author before you use it"
        parts = self.licence.split("-")
        terms = [text for part, text in _TERMS.items() if part in parts]
        return f"{self.licence} ({', '.join(terms)})" if terms else self.licence

    @property
    def file_to_download(self) -> KnownFile | None:
        """The file that a program can download, or None if all addresses are pages."""
        return next((file for file in self.files if file.downloads), None)

    @property
    def file_name(self) -> str:
        """The name of the file to have: that of the author's download, or the unique name with the suffix."""
        file = self.file_to_download
        return f"{self.name}{self.files[0].suffix}" if file is None else _last_part(file.downloads[0])

    @property
    def page(self) -> str:
        """The first address of the preferred file. Empty for a built-in network."""
        return next(iter((self.file_to_download or self.files[0]).addresses), "")

    def where_to_get(self, folder: Path) -> str:
        """Return a sentence on how to bring the model into a folder."""
        if self.file_to_download is None:
            return f"Open {self.page} in a browser, download the file there and put it into {folder}."
        return f"Get it by: span-upscale get {self.name}"


@cache
def known_models() -> tuple[KnownModel, ...]:
    """Return all known models, the built-in networks first."""
    return tuple(map(_model, json.loads(_FACTS.read_text("utf-8"))))


def recognise(sha256: str) -> KnownModel | None:
    """Return the known model that has a file with this checksum in hexadecimal, or None."""
    return next((model for model in known_models() for file in model.files if file.sha256 == sha256.lower()), None)


def find_known(name: str) -> KnownModel | None:
    """Return the known model with a name, or None.

    Args:
        name: the unique name, the author's name, or the name of the file at its address. Case, punctuation, folders and suffix do not
            matter.
    """
    return _models_by_key().get(_key(name))


def require_known(name: str) -> KnownModel:
    """Return the known model with a name (see `find_known`).

    Raises:
        CheckpointNotFoundError: there is none. The message offers similar names.
    """
    if (model := find_known(name)) is not None:
        return model
    similar = similar_names(name)
    advice = f"Did you mean {join_words(similar)}?" if similar else "Run 'span-upscale models' to see the known names."
    raise CheckpointNotFoundError(f"{name} is not a known model. {advice}")


def similar_names(name: str) -> tuple[str, ...]:
    """Return up to three names of known models that contain a name or differ from it in a few letters."""
    key, keys = _key(name), _models_by_key()
    containing = [other for other in keys if len(key) > 2 and key in other]
    found = [*containing, *difflib.get_close_matches(key, keys, n=3)]
    return tuple(dict.fromkeys(keys[other].name for other in found))[:3]


def file_sha256(path: Path) -> str:
    """Return the checksum of a file in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _model(facts: dict[str, Any]) -> KnownModel:
    files = tuple(map(_file, facts["files"]))
    if builtin := not files:
        path = WEIGHTS / f"{facts['name']}.safetensors"
        files = (KnownFile(path.suffix, path.stat().st_size, file_sha256(path), ()),)
    values: dict[str, Any] = {**facts, "tags": tuple(facts["tags"]), "files": files, "builtin": builtin}
    return KnownModel(**values)


def _file(facts: dict[str, Any]) -> KnownFile:
    return KnownFile(facts["suffix"], facts["size"], facts["sha256"], tuple(facts["addresses"]))


@cache
def _models_by_key() -> dict[str, KnownModel]:
    models = known_models()
    names = [(model.name, model) for model in models]
    names += [(model.title, model) for model in models]
    names += [(model.file_name, model) for model in models]
    found: dict[str, KnownModel] = {}
    for name, model in names:  # a unique name goes before an author's name that equals it
        found.setdefault(_key(name), model)
    return found


def _key(name: str) -> str:
    """Reduce a name or path to what identifies a model."""
    last = re.split(r"[\\/]", name)[-1].lower()
    return re.sub(r"[\W_]", "", re.sub(r"\.(safetensors|sft|pth|pt|ckpt|onnx)$", "", last))


def _last_part(address: str) -> str:
    return unquote(urlsplit(address).path).rpartition("/")[2]
