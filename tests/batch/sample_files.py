"""Images, animations and videos of noise, and jobs for them."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from span_arch.batch import Job


def noise(mode: str = "RGB", size: tuple[int, int] = (20, 14), seed: int = 0) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 4), dtype=np.uint8)
    return Image.fromarray(levels).convert("RGB" if mode in ("P", "CMYK") else mode).convert(mode)


def draw(path: str, mode: str = "RGB", size: tuple[int, int] = (20, 14), seed: int = 0, **settings: Any) -> Path:
    """Write an image of noise."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    noise(mode, size, seed).save(path, **settings)
    return Path(path)


def animate(path: str, frames: int = 4) -> Path:
    """Write an animation of noise whose frames last 40 ms, 50 ms and so on."""
    first, *others = (noise(seed=seed) for seed in range(frames))
    first.save(path, save_all=True, append_images=others, duration=[40 + 10 * index for index in range(frames)], loop=0)
    return Path(path)


def film(path: str, frames: int = 3) -> Path:
    """Write a video of noise."""
    from span_arch.video import compose

    compose(Path(path), torch.rand(frames, 24, 32, 3, generator=torch.Generator().manual_seed(0)), Fraction(25))
    return Path(path)


def jobs_for(sources: Iterable[Path], folder: str = "out", **fields: Any) -> list[Job]:
    return [Job(source, Path(folder) / source.name, make_folder=True, **fields) for source in sources]


def visible_files() -> set[str]:
    """Return the paths of all files below the current folder."""
    return {str(path) for path in Path().rglob("*") if not path.is_dir()}
