"""The rules of the house that code can check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import span_arch
from span_arch import errors

ROOT = Path(__file__).parents[1]


def imports(path: Path) -> set[str]:
    """The top-level names of all absolute imports of a file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_the_library_knows_no_host() -> None:
    for path in (ROOT / "span_arch").rglob("*.py"):
        assert not imports(path) & {"comfy", "comfy_api", "folder_paths", "server", "nodes"}, path


LAYERS = (
    ("errors",),
    ("_util",),
    ("archs", "streaming"),
    ("checkpoints", "image_ops", "image_files"),
    ("models",),
    ("engine",),
    ("upscale",),
    ("video", "training"),
    ("batch",),
    ("cluster",),
    ("cli",),
)
"""The folders and modules of the library, lowest first. A module imports from its own folder and from lower layers only."""


def modules_of(package: str) -> dict[str, Path]:
    """Return every module below a top-level package by its dotted name."""
    paths = (ROOT / package).rglob("*.py")
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def imported_modules(name: str, path: Path, known: Mapping[str, Path]) -> set[str]:
    """Return the modules among `known` that a module imports, wherever in its text it does so."""
    found: set[str] = set()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        base = node.module or ""
        if node.level:
            parents = package.split(".")
            kept = parents[: len(parents) - node.level + 1]
            base = ".".join([*kept, *([node.module] if node.module else [])])
        for alias in node.names:
            module = f"{base}.{alias.name}"
            found |= {module if module in known else base} & known.keys()
    return found


def test_imports_of_the_library_run_downwards() -> None:
    rank = {name: level for level, names in enumerate(LAYERS) for name in names}
    known = modules_of("span_arch")
    upwards: list[str] = []
    for name, path in known.items():
        here = name.split(".")[1:2]
        if not here or here == ["__main__"]:
            continue  # the public face of the library
        for other in imported_modules(name, path, known):
            there = other.split(".")[1:2]
            if there != here and (not there or rank[there[0]] >= rank[here[0]]):
                upwards.append(f"{name} imports {other}")
    assert not upwards


def test_no_imports_run_in_circles() -> None:
    known = modules_of("span_arch") | modules_of("nodes")
    graph = {name: imported_modules(name, path, known) for name, path in known.items()}
    # A package imports its own modules for its public names. A module that takes a sibling through the package is found as a circle.
    list(TopologicalSorter({name: others - {name} for name, others in graph.items()}).static_order())


def test_a_file_name_appears_once() -> None:
    names = [path.stem for package in ("span_arch", "nodes") for path in (ROOT / package).rglob("*.py")]
    assert [name for name, count in Counter(names).items() if count > 1 and not name.startswith("__")] == []


def test_only_one_file_asks_the_host_for_more_than_its_node_types() -> None:
    for path in (ROOT / "nodes").glob("*.py"):
        assert path.name == "_host.py" or not imports(path) & {"comfy", "folder_paths", "server"}, path


def test_the_public_names_are_sorted_and_there() -> None:
    assert span_arch.__all__ == sorted(span_arch.__all__)
    assert all(hasattr(span_arch, name) for name in span_arch.__all__)


def test_every_error_is_drawn_in_the_tree() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    drawn = re.findall(r"^[ │├└─]*(\w+Error)\b", errors.__doc__ or "", re.MULTILINE)
    assert sorted(drawn) == sorted(error.__name__ for error in classes)
    assert all(issubclass(error, errors.SpanArchError) for error in classes)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 reads no TOML")
def test_both_lists_of_requirements_agree() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = (ROOT / "requirements.txt").read_text().split()
    assert listed == [name for name in project["project"]["dependencies"] if name != "torch"]  # ComfyUI has its own torch


def test_every_node_has_a_fixed_id() -> None:
    ids = re.findall(r'node_id="(\w+)"', "".join(path.read_text() for path in (ROOT / "nodes").glob("*.py")))
    assert sorted(ids) == ["LoadSPANModel", "SPANModelInfo", "SPANUpscale", "SPANUpscaleVideo", "SaveSPANModel"]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout of git")
def test_the_registrys_zip_has_what_the_pack_needs_and_no_more() -> None:
    """What is left out are the files that git would ignore by .comfyignore."""

    def listed(*options: str) -> set[str]:
        run = subprocess.run(["git", "ls-files", "--cached", *options], cwd=ROOT, capture_output=True, text=True, check=True)
        return set(run.stdout.splitlines())

    needed = {"example_workflows", "js", "locales", "nodes", "span_arch", "subgraphs"}
    kept = listed() - listed("--ignored", "--exclude-from=.comfyignore")
    assert {path.split("/")[0] for path in kept if "/" in path} == needed
    assert {path for path in listed() if path.split("/")[0] in needed} <= kept
