"""``span-upscale models``: list the built-in, installed and known models."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..models.catalogue import PURPOSES, KnownModel, known_models
from ..models.installed import VARIABLE, InstalledFile, find_installed, model_folders

_HEADINGS = ("name", "scale", "size", "licence", "author", "where")
_Row = Sequence[str]


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    parser = argparse.ArgumentParser(
        prog="span-upscale models", description="List the built-in, the installed and the other known models by purpose."
    )
    add_models_dir(parser, "a folder with your models")
    parser.add_argument("--json", action="store_true", help="print all facts as JSON")
    parser.set_defaults(run=_run)
    return parser


def add_models_dir(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Add ``--models-dir``. `purpose` starts its help text."""
    parser.add_argument(
        "--models-dir",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help=f"{purpose}; may be repeated (default: the folders in the variable {VARIABLE}, or else one in your data folder)",
    )


def _run(options: argparse.Namespace) -> int:
    folders = model_folders(options.models_dir)
    installed = list(find_installed(folders))
    paths = {file.known.name: file.path for file in reversed(installed) if file.known is not None}
    if options.json:
        print(json.dumps(_facts(paths, installed), indent=2))
        return 0
    groups = {f"{purpose} ({text})": _rows(purpose, paths) for purpose, text in PURPOSES.items()}
    groups["installed, not in the catalogue"] = _unknown(installed)
    print("\n".join(_table({title: rows for title, rows in groups.items() if rows})))
    missing = [purpose for purpose in PURPOSES if not any(model.purpose == purpose for model in known_models())]
    if missing:
        print(f"\nNo model is known for: {', '.join(missing)}.")
    print(f"\nFolders: {', '.join(f'{folder}' if folder.is_dir() else f'{folder} (does not exist)' for folder in folders)}")
    print("Download a model with: span-upscale get NAME. Those with a page have to be downloaded in a browser.")
    return 0


def _rows(purpose: str, paths: Mapping[str, Path]) -> list[_Row]:
    models = [model for model in known_models() if model.purpose == purpose]
    return [_row(model, paths.get(model.name)) for model in models]


def _row(model: KnownModel, path: Path | None) -> _Row:
    file = model.file_to_download or model.files[0]
    where = (
        "built in" if model.builtin else str(path) if path is not None else "download" if model.file_to_download else f"page: {model.page}"
    )
    return model.name, f"x{model.scale}", _megabytes(file.size), model.licence or "not stated", model.author, where


def _unknown(installed: Iterable[InstalledFile]) -> list[_Row]:
    files = [file.path for file in installed if file.known is None]
    return [(path.name, "", _megabytes(path.stat().st_size), "", "", str(path)) for path in files]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _table(groups: Mapping[str, Sequence[_Row]]) -> list[str]:
    rows = [_HEADINGS, *(row for rows in groups.values() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]

    def line(row: _Row) -> str:
        return "  " + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])

    return [line(_HEADINGS), *(text for title, rows in groups.items() for text in ("", title, *map(line, rows)))]


def _facts(paths: Mapping[str, Path], installed: Sequence[InstalledFile]) -> list[dict[str, Any]]:
    known = [{**asdict(model), "path": str(paths[model.name]) if model.name in paths else None} for model in known_models()]
    return [*known, *({"name": file.path.name, "path": str(file.path)} for file in installed if file.known is None)]
