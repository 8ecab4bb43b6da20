"""The project's conventions, as far as code can check them."""

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
from spandrel import MAIN_REGISTRY

import span_arch
from span_arch import errors

ROOT = Path(__file__).parents[1]
LIBRARY = tuple((ROOT / "span_arch").rglob("*.py"))
PYTHON = tuple(path for folder in ("span_arch", "nodes", "tests", "scripts", "benchmarks") for path in (ROOT / folder).rglob("*.py"))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> set[str]:
    """Return the top-level names of all absolute imports of a file."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_the_library_does_not_import_the_host() -> None:
    for path in LIBRARY:
        assert not imports(path) & {"comfy", "comfy_api", "folder_paths", "server", "nodes"}, path


LAYERS = (
    ("errors",),
    ("_util",),
    ("archs", "streaming"),
    ("checkpoints", "image_ops", "image_files"),
    ("models",),
    ("engine",),
    ("upscaling",),
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
    for node in ast.walk(tree(path)):
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


def test_imports_run_from_higher_to_lower_layers() -> None:
    rank = {name: level for level, names in enumerate(LAYERS) for name in names}
    known = modules_of("span_arch")
    upwards: list[str] = []
    for name, path in known.items():
        here = name.split(".")[1:2]
        if not here or here == ["__main__"]:
            continue  # span_arch and python -m span_arch
        for other in imported_modules(name, path, known):
            there = other.split(".")[1:2]
            if there != here and (not there or rank[there[0]] >= rank[here[0]]):
                upwards.append(f"{name} imports {other}")
    assert not upwards


def test_imports_have_no_circles() -> None:
    known = modules_of("span_arch") | modules_of("nodes")
    graph = {name: imported_modules(name, path, known) for name, path in known.items()}
    # A package imports its own modules for its public names. A module that imports a sibling through the package makes a circle.
    list(TopologicalSorter({name: others - {name} for name, others in graph.items()}).static_order())


def test_a_file_name_appears_once() -> None:
    names = [path.stem for package in ("span_arch", "nodes") for path in (ROOT / package).rglob("*.py")]
    assert [name for name, count in Counter(names).items() if count > 1 and not name.startswith("__")] == []


VERBS = ("describe", "load", "save")


def test_no_function_but_the_public_verbs_shares_its_modules_name() -> None:
    functions = {(path.stem, node.name) for path in LIBRARY for node in tree(path).body if isinstance(node, ast.FunctionDef)}
    assert sorted(name for module, name in functions if name == module and name not in VERBS) == []


@pytest.mark.parametrize("name", ["Model", "Pair", "CHANNELS", "MEMORY_SHARE", "Frame", "Job", "Progress", "Settings", "Context", "Report"])
def test_a_shared_type_or_constant_is_defined_once(name: str) -> None:
    def defines(node: ast.stmt) -> bool:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        return any(isinstance(target, ast.Name) and target.id == name for target in targets) or getattr(node, "name", None) == name

    assert len([path for path in LIBRARY for node in tree(path).body if defines(node)]) == 1


def test_only_one_module_uses_private_names_of_spandrel() -> None:
    model = span_arch.load("spanx2_ch48")
    private = {name for owner in (model, model.architecture, MAIN_REGISTRY) for name in vars(owner) if name.startswith("_")}

    def uses(node: ast.AST) -> bool:
        if isinstance(node, ast.Attribute):  # attributes of that name may be our own if they belong to `self`
            return node.attr in private and not (isinstance(node.value, ast.Name) and node.value.id == "self")
        if isinstance(node, ast.ImportFrom):
            return re.match(r"spandrel\b.*\._", node.module or "") is not None
        return isinstance(node, ast.Constant) and node.value in private

    assert [path.name for path in PYTHON if any(map(uses, ast.walk(tree(path))))] == ["spandrel_compat.py"]


def test_prose_says_image() -> None:
    word = re.compile(r"\bpic" + r"tures?\b", re.IGNORECASE)
    written = [*PYTHON, *ROOT.glob("*.md"), *(path for folder in ("docs", "js", "locales/en") for path in (ROOT / folder).rglob("*.*"))]
    written = [path for path in written if path.suffix in (".py", ".md", ".js", ".json")]
    assert [str(path) for path in written if word.search(path.read_text("utf-8"))] == []


def test_only_one_file_imports_more_of_the_host_than_node_types() -> None:
    for path in (ROOT / "nodes").glob("*.py"):
        assert path.name == "_host.py" or not imports(path) & {"comfy", "folder_paths", "server"}, path


def test_public_names_are_sorted_and_exist() -> None:
    assert span_arch.__all__ == sorted(span_arch.__all__)
    assert all(hasattr(span_arch, name) for name in span_arch.__all__)


def test_the_error_tree_is_complete() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    drawn = re.findall(r"^[ │├└─]*(\w+Error)\b", errors.__doc__ or "", re.MULTILINE)
    assert sorted(drawn) == sorted(error.__name__ for error in classes)
    assert all(issubclass(error, errors.SpanArchError) for error in classes)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib is new in Python 3.11")
def test_both_requirement_lists_agree() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = (ROOT / "requirements.txt").read_text().split()
    assert listed == [name for name in project["project"]["dependencies"] if name != "torch"]  # ComfyUI has its own torch


def test_node_ids_never_change() -> None:
    ids = re.findall(r'node_id="(\w+)"', "".join(path.read_text() for path in (ROOT / "nodes").glob("*.py")))
    assert sorted(ids) == ["LoadSPANModel", "SPANModelInfo", "SPANUpscale", "SPANUpscaleVideo", "SaveSPANModel"]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is not a git checkout")
def test_the_published_zip_holds_exactly_what_the_pack_needs() -> None:
    """The registry leaves out the files that git would ignore with .comfyignore as its rules."""

    def listed(*options: str) -> set[str]:
        run = subprocess.run(["git", "ls-files", "--cached", *options], cwd=ROOT, capture_output=True, text=True, check=True)
        return set(run.stdout.splitlines())

    needed = {"example_workflows", "js", "locales", "nodes", "span_arch", "subgraphs"}
    kept = listed() - listed("--ignored", "--exclude-from=.comfyignore")
    assert {path.split("/")[0] for path in kept if "/" in path} == needed
    assert {path for path in listed() if path.split("/")[0] in needed} <= kept
