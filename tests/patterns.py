"""Images on which unbounded networks of the family explode, or nearly so. All are (1, H, W, 3) in 0..1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

PATTERNS_OF_ONE_PIXEL = ("1-bit dither", "checkerboard", "stripes", "binary noise")


def patterns(data: Path) -> dict[str, Tensor]:
    """Return the patterns by name."""
    random = torch.Generator().manual_seed(0)
    with Image.open(data / "Set14" / "x2" / "img_001_LR.png") as file:
        photograph = file.convert("RGB").crop((60, 60, 188, 156))
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    return {
        "aliased text": _pixels(aliased_text()),
        "web-safe GIF": _pixels(photograph.convert("P", palette=Image.Palette.WEB)),
        "noise": (_pixels(photograph) + 0.1 * torch.randn(1, 96, 128, 3, generator=random)).clamp(0, 1),
        "1-bit dither": _pixels(photograph.convert("1")),
        "checkerboard": _grey((rows + columns) % 2),
        "stripes": _grey(columns % 2),
        "binary noise": _grey(torch.rand(64, 64, generator=random) > 0.5),
    }


def aliased_text() -> Image.Image:
    """Draw black text on white without anti-aliasing, 160x48."""
    image = Image.new("RGB", (160, 48), "white")
    draw = ImageDraw.Draw(image)
    draw.fontmode = "1"
    for row, line in enumerate(("The quick brown fox 0123", "jumps over the lazy dog", "Screenshots & menus @#%")):
        draw.text((3, 2 + 15 * row), line, fill="black", font=ImageFont.load_default(size=10))
    return image


def _pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image.convert("RGB"), np.float32) / 255)[None]


def _grey(values: Tensor) -> Tensor:
    return values.float()[None, :, :, None].expand(1, 64, 64, 3).contiguous()
