#!/usr/bin/env python
"""Write docs/models.md, the page of known models, from span_arch/models/catalogue.json.

python scripts/make_models_page.py

With --print the script prints the page and writes no file.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from span_arch.models.catalogue import PURPOSES, KnownModel, known_models

PAGE = Path(__file__).parents[1] / "docs" / "models.md"

HEAD = """\
<!-- scripts/make_models_page.py writes this page. -->
# Models

Which model for what. Four networks are included. The others are SPAN files that their authors publish; the facts come from
[OpenModelDB](https://openmodeldb.info). A licence with NC forbids commercial use. SA demands the same licence for changed versions, and
BY demands that you name the author.

The default is spanx4_ch52. The ch48 networks are a little faster and as good on photographs, but may leave speckles where saturated colours
of a drawing meet at a hard edge.

```sh
span-upscale models                      # what is included, installed and known
span-upscale get 4x-PurePhoto-span       # download a model
span-upscale photo.jpg large.png --model 4x-PurePhoto-span
```

`get` needs the Python package `pooch` (`pip install pooch`). Models marked *page* have to be downloaded in a browser: `get` prints the
address and the folder. See [Command line](command-line.md#known-models) for the folders. For ComfyUI, put files into
`models/upscale_models`.

`span-upscale info` and *SPAN Model Info* recognise a file by its SHA-256, under whatever name. If a single byte differs, they do not show
the name.
"""


def main() -> None:
    if sys.argv[1:] == ["--print"]:
        sys.stdout.buffer.write(page().encode())
    else:
        PAGE.write_bytes(page().encode())


def page() -> str:
    """Return the page."""
    return "\n".join([HEAD, *(section(purpose) for purpose in PURPOSES)])


def section(purpose: str) -> str:
    """Return a heading, and a table of the models for a purpose."""
    title, models = PURPOSES[purpose], [model for model in known_models() if model.purpose == purpose]
    table = ["| model | scale | made for | author | licence | get |", "| --- | --- | --- | --- | --- | --- |", *map(row, models)]
    return "\n".join([f"## {title[0].upper()}{title[1:]}", "", *(table if models else ["No SPAN file is known."]), ""])


def row(model: KnownModel) -> str:
    """Return a model's line of the table."""
    get = "included" if model.builtin else f"[{'download' if model.file_to_download else 'page'}]({model.page})"
    cells = (model.name, f"x{model.scale}", ", ".join(model.tags).replace("-", " "), model.author, model.licence or "not stated", get)
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
