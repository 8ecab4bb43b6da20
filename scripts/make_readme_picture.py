#!/usr/bin/env python
"""Makes docs/before_after.png: a part of docs/example.png four times larger, by a bicubic filter and by SPAN.

python scripts/make_readme_picture.py
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
import span_arch  # noqa: E402 - from this checkout
from span_arch.image_files import StillImage, read_image, write_image  # noqa: E402

PART = (62, 18, 172, 118)
"""Left, top, right and bottom in pixels of the example."""
GAP = 8


def main() -> None:
    source = ROOT / "docs" / "example.png"
    target = ROOT / "docs" / "before_after.png"
    model = span_arch.load("spanx4_ch48")
    write_image(target, StillImage(span_arch.upscale(model, read_image(source).image)), overwrite=True)
    with Image.open(target) as file:
        after = file.convert("RGB")
    with Image.open(source) as file:
        before = file.convert("RGB").resize(after.size, Image.Resampling.BICUBIC)
    left, top, right, bottom = (4 * edge for edge in PART)
    canvas = Image.new("RGB", (2 * (right - left) + GAP, bottom - top), "white")
    font = ImageFont.load_default(size=20)
    for i, (image, label) in enumerate([(before, "bicubic"), (after, "SPAN x4")]):
        piece = image.crop((left, top, right, bottom))
        ImageDraw.Draw(piece).text((12, 8), label, font=font, fill="white", stroke_width=2, stroke_fill="black")
        canvas.paste(piece, (i * (right - left + GAP), 0))
    canvas.save(target, optimize=True)


if __name__ == "__main__":
    main()
