#!/usr/bin/env python
"""Write docs/bounds.png: aliased text and a dithered photograph, enlarged four times by a network without bounds and with them.

python scripts/make_bounds_image.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
import span_arch  # noqa: E402 - from this checkout

NETWORK, SCALE, GAP = "spanx4_ch48", 4, 8
LABELS = ("input", "without bounds", "with bounds")
PART = (62, 18, 142, 66)
"""Left, top, right and bottom of the photograph, in pixels of the example."""


def main() -> None:
    models = [span_arch.load(NETWORK, bounded=bounded) for bounded in (False, True)]
    rows: list[Image.Image] = []
    for image in (aliased_text(), dithered_photograph()):
        pixels = torch.from_numpy(np.asarray(image, np.float32) / 255)[None]
        results = [span_arch.upscale(model, pixels)[0] for model in models]
        panels = [image.resize((image.width * SCALE, image.height * SCALE), Image.Resampling.NEAREST)]
        panels += [Image.fromarray((result.numpy() * 255).round().astype(np.uint8)) for result in results]
        rows.append(side_by_side(panels))
    heading, font = 28, ImageFont.load_default(size=18)
    canvas = Image.new("RGB", (rows[0].width, heading + sum(row.height for row in rows) + GAP), "white")
    for column, label in enumerate(LABELS):
        ImageDraw.Draw(canvas).text((column * (rows[0].width + GAP) // len(LABELS) + 4, 3), label, font=font, fill="black")
    top = heading
    for row in rows:
        canvas.paste(row, (0, top))
        top += row.height + GAP
    canvas.quantize(128).save(ROOT / "docs" / "bounds.png", optimize=True)


def aliased_text() -> Image.Image:
    """Draw text as screenshots of old programs have it, 80x48."""
    image = Image.new("RGB", (80, 48), "white")
    draw = ImageDraw.Draw(image)
    draw.fontmode = "1"
    for row, line in enumerate(("Ready. 42 files", "[x] Save & quit", "C:\\> dir /w")):
        draw.text((3, 2 + 15 * row), line, fill="black", font=ImageFont.load_default(size=11))
    return image


def dithered_photograph() -> Image.Image:
    """Return part of the example in black and white, 80x48."""
    with Image.open(ROOT / "docs" / "example.png") as file:
        return file.convert("RGB").crop(PART).convert("1").convert("RGB")


def side_by_side(panels: list[Image.Image]) -> Image.Image:
    """Put images of one size next to each other."""
    width, height = panels[0].size
    canvas = Image.new("RGB", ((width + GAP) * len(panels) - GAP, height), "white")
    for column, panel in enumerate(panels):
        canvas.paste(panel, (column * (width + GAP), 0))
    return canvas


if __name__ == "__main__":
    main()
