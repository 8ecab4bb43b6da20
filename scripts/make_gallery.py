#!/usr/bin/env python
"""Write docs/gallery.jpg: photographs shrunk to a quarter and enlarged again by filters and by SPAN, next to the originals.

pip install scikit-image, then: python scripts/make_gallery.py

The photographs come with scikit-image; NOTICE credits their authors. The gallery shows each pixel as two by two.
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
import span_arch  # noqa: E402 - the one in this checkout

NETWORK, SCALE = "spanx4_ch48", 4
PARTS = {"astronaut": (150, 24), "chelsea": (110, 50), "coffee": (270, 150), "rocket": (250, 110)}
"""Left and top of the part to show, in pixels of the photograph."""
SIDE, ZOOM, GAP = 128, 2, 6


def by_span(image: Image.Image) -> Image.Image:
    pixels = torch.from_numpy(np.array(image))[None] / 255
    large = span_arch.upscale(span_arch.load(NETWORK), pixels, span_arch.Settings(precision="float32"))[0]
    return Image.fromarray((large * 255).round().byte().numpy())


def columns(original: Image.Image) -> dict[str, Image.Image]:
    """Return the image as each method restores it, by the name of the method."""
    source = original.resize((original.width // SCALE, original.height // SCALE), Image.Resampling.BICUBIC)
    return {
        "bicubic": source.resize(original.size, Image.Resampling.BICUBIC),
        "Lanczos": source.resize(original.size, Image.Resampling.LANCZOS),
        "SPAN x4": by_span(source),
        "original": original,
    }


def main() -> None:
    cell, font = SIDE * ZOOM, ImageFont.load_default(size=20)
    canvas = Image.new("RGB", (4 * (cell + GAP) - GAP, len(PARTS) * (cell + GAP) - GAP), "white")
    for row, (name, (left, top)) in enumerate(PARTS.items()):
        image = Image.fromarray(getattr(data, name)())
        image = image.crop((0, 0, image.width // SCALE * SCALE, image.height // SCALE * SCALE))
        for column, (label, whole) in enumerate(columns(image).items()):
            part = whole.crop((left, top, left + SIDE, top + SIDE)).resize((cell, cell), Image.Resampling.NEAREST)
            if row == 0:
                ImageDraw.Draw(part).text((10, 6), label, font=font, fill="white", stroke_width=2, stroke_fill="black")
            canvas.paste(part, (column * (cell + GAP), row * (cell + GAP)))
    canvas.save(ROOT / "docs" / "gallery.jpg", quality=90, subsampling=0, optimize=True)


if __name__ == "__main__":
    main()
