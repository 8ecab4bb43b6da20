#!/usr/bin/env python
"""Makes docs/gallery.jpg: parts of pictures made four times smaller, and as large again by filters and by SPAN, beside the originals.

pip install scikit-image, then: python scripts/make_gallery.py

The pictures are those that come with scikit-image; NOTICE names who took them. Each pixel is shown as two by two.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from skimage import data

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
import span_arch  # noqa: E402 - from this checkout

NETWORK, SCALE = "spanx4_ch48", 4
PARTS = {"astronaut": (150, 24), "chelsea": (110, 50), "coffee": (270, 150), "rocket": (250, 110)}
"""Left and top of each picture's part, in its pixels."""
SIDE, ZOOM, GAP = 128, 2, 6


def small(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width // SCALE, picture.height // SCALE), Image.Resampling.BICUBIC)


def by_span(picture: Image.Image) -> Image.Image:
    image = torch.from_numpy(np.array(picture))[None] / 255
    large = span_arch.upscale(span_arch.load(NETWORK), image, span_arch.Settings(precision="float32"))[0]
    return Image.fromarray((large * 255).round().byte().numpy())


def columns(picture: Image.Image) -> dict[str, Image.Image]:
    """The whole picture by each of the ways, by their names."""
    source = small(picture)
    return {
        "bicubic": source.resize(picture.size, Image.Resampling.BICUBIC),
        "Lanczos": source.resize(picture.size, Image.Resampling.LANCZOS),
        "SPAN x4": by_span(source),
        "original": picture,
    }


def main() -> None:
    cell, font = SIDE * ZOOM, ImageFont.load_default(size=20)
    canvas = Image.new("RGB", (4 * (cell + GAP) - GAP, len(PARTS) * (cell + GAP) - GAP), "white")
    for row, (name, (left, top)) in enumerate(PARTS.items()):
        picture = Image.fromarray(getattr(data, name)())
        picture = picture.crop((0, 0, picture.width // SCALE * SCALE, picture.height // SCALE * SCALE))
        for column, (label, whole) in enumerate(columns(picture).items()):
            part = whole.crop((left, top, left + SIDE, top + SIDE)).resize((cell, cell), Image.Resampling.NEAREST)
            if row == 0:
                ImageDraw.Draw(part).text((10, 6), label, font=font, fill="white", stroke_width=2, stroke_fill="black")
            canvas.paste(part, (column * (cell + GAP), row * (cell + GAP)))
    canvas.save(ROOT / "docs" / "gallery.jpg", quality=90, subsampling=0, optimize=True)


if __name__ == "__main__":
    main()
