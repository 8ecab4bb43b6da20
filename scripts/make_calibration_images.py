#!/usr/bin/env python
"""Write span_arch/models/calibration.png, the images from which activation limits are measured.

python scripts/make_calibration_images.py

The images are drawn large and scaled down, as renderings are: text of ordinary and of tiny size, shapes in strong colours, and a cloudy
texture. Their edges are sharp, but anti-aliased. Patterns of one pixel, which bounds exist for, are not among them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

TARGET = Path(__file__).parents[1] / "span_arch" / "models" / "calibration.png"
SIDE = 48
COLUMNS = 7
SENTENCE = "Hamburgefonstiv 0123456789 quick brown fox THE LAZY DOG {}[]&@#% " * 3


def main() -> None:
    tiles = [
        *(tiny_text(seed) for seed in range(4)),
        *(text(seed) for seed in range(2)),
        *(shapes(seed) for seed in range(7)),
        clouds(0),
    ]
    sheet = Image.new("RGB", (COLUMNS * SIDE, len(tiles) // COLUMNS * SIDE))
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % COLUMNS * SIDE, number // COLUMNS * SIDE))
    sheet.save(TARGET, optimize=True)
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes")


def tiny_text(seed: int) -> Image.Image:
    """Draw lines of 5 to 9 pixels in height, dark on light or light on dark."""
    random = np.random.default_rng(seed)
    light, dark = (int(random.integers(190, 256)),) * 3, (int(random.integers(0, 70)),) * 3
    ground, ink = (light, dark) if seed % 3 else (dark, light)
    return _scaled_down(_lines(random, ground, [ink], heights=(5, 9), factor=8), Image.Resampling.BOX, blur=0.3)


def text(seed: int) -> Image.Image:
    """Draw lines of 9 to 28 pixels in height."""
    random = np.random.default_rng(seed)
    ground = _colour(random)
    contrast = (0, 0, 0) if sum(ground) > 380 else (255, 255, 255)
    inks = [contrast] if seed % 2 == 0 else [_colour(random) for _ in range(4)]
    return _scaled_down(_lines(random, ground, inks, heights=(9, 28), factor=4), Image.Resampling.BICUBIC, blur=0.5)


def shapes(seed: int) -> Image.Image:
    """Draw outlined discs, rectangles, lines and triangles in any colours, as comics and user interfaces have them."""
    random = np.random.default_rng(seed)
    size = 4 * SIDE
    image = Image.new("RGB", (size, size), _colour(random))
    draw = ImageDraw.Draw(image)
    for _ in range(30):
        x, y, radius = (int(random.integers(*limits)) for limits in ((0, size), (0, size), (4, 60)))
        colour, kind = _colour(random), random.integers(0, 4)
        if kind == 0:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline=(0, 0, 0), width=4)
        elif kind == 1:
            draw.rectangle((x - radius, y - radius, x + radius, y + radius), fill=colour)
        elif kind == 2:
            end = int(random.integers(0, size)), int(random.integers(0, size))
            draw.line([(x, y), end], fill=colour if random.random() < 0.5 else (0, 0, 0), width=int(random.integers(3, 8)))
        else:
            corners = random.integers(-radius, radius + 1, (3, 2)) + np.array([x, y])
            draw.polygon([(int(column), int(row)) for column, row in corners], fill=colour)
    return _scaled_down(image, Image.Resampling.BICUBIC, blur=0.5)


def clouds(seed: int) -> Image.Image:
    """Draw noise whose spectrum falls as that of natural images does."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None])
    frequency[0, 0] = 1 / SIDE
    grey = random.standard_normal((SIDE, SIDE))
    channels: list[np.ndarray] = []
    for _ in range(3):
        white = 0.8 * grey + 0.2 * random.standard_normal((SIDE, SIDE))
        pink = np.fft.irfft2(np.fft.rfft2(white) / frequency**1.2, (SIDE, SIDE))
        channels.append((pink - pink.mean()) / pink.std())
    return Image.fromarray((np.clip(0.5 + 0.22 * np.stack(channels, -1), 0, 1) * 255).astype(np.uint8))


def _lines(
    random: np.random.Generator, ground: tuple[int, ...], inks: list[tuple[int, ...]], *, heights: tuple[int, int], factor: int
) -> Image.Image:
    image = Image.new("RGB", (SIDE * factor, SIDE * factor), ground)
    draw, y = ImageDraw.Draw(image), 0
    while y < image.height:
        height, start = int(random.integers(heights[0] * factor, heights[1] * factor)), int(random.integers(0, 40))
        place = int(random.integers(-20, 4)) * factor, y
        draw.text(place, SENTENCE[start:], fill=inks[y % len(inks)], font=ImageFont.load_default(size=height))
        y += int(height * 1.15)
    return image


def _colour(random: np.random.Generator) -> tuple[int, ...]:
    return tuple(int(level) for level in random.integers(0, 256, 3))


def _scaled_down(image: Image.Image, filter: Image.Resampling, *, blur: float) -> Image.Image:
    return image.resize((SIDE, SIDE), filter).filter(ImageFilter.GaussianBlur(blur))


if __name__ == "__main__":
    main()
