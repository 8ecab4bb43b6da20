"""A network against a benchmark: pictures, and their originals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..engine.precision import Precision
from ..engine.settings import Settings
from ..errors import ImageError
from ..image_files import read_image
from ..image_ops.metrics import Quality, quality
from ..models.build import Model
from ..upscale import upscale

_HR, _LR = "_HR", "_LR"


@dataclass(frozen=True)
class Result:
    """Of one picture."""

    name: str
    quality: Quality


def pairs(folder: Path) -> list[tuple[str, Path, Path]]:
    """Name, small picture and original of every pair ``NAME_LR.png`` and ``NAME_HR.png`` in a folder, sorted.

    Raises:
        ImageError: there is no such folder, no pair in it, or half of one.
    """
    if not folder.is_dir():
        raise ImageError(f"There is no folder '{folder}'. Expected one with pictures NAME_LR.png and NAME_HR.png.")
    small = {file.stem.removesuffix(_LR): file for file in sorted(folder.iterdir()) if file.stem.endswith(_LR)}
    large = {file.stem.removesuffix(_HR): file for file in sorted(folder.iterdir()) if file.stem.endswith(_HR)}
    if not small and not large:
        raise ImageError(f"'{folder}' holds no pictures named NAME_LR.png and NAME_HR.png, as img_001_LR.png and img_001_HR.png.")
    if alone := sorted(small.keys() ^ large.keys()):
        raise ImageError(f"In '{folder}', {', '.join(alone)} lacks its {_HR[1:]} or its {_LR[1:]} picture. Every pair needs both.")
    return [(name, file, large[name]) for name, file in small.items()]


def evaluate(
    model: Model, folder: Path, *, precision: Precision = "auto", ensemble: bool = False, progress: Callable[[str], None] | None = None
) -> Iterator[Result]:
    """Upscales every small picture of a folder as `upscale` does, and compares it with its original, one at a time.

    Raises:
        ImageError: as `pairs`; or a picture cannot be read; or an original has not the size that the model gives.
    """
    for name, small, large in pairs(folder):
        if progress is not None:
            progress(name)
        result = upscale(model, _rgb(read_image(small).image), Settings(precision=precision, ensemble=ensemble))[0]
        original = _rgb(read_image(large).image)[0]
        height, width = result.shape[:2]
        if not (0 <= original.shape[0] - height < model.scale and 0 <= original.shape[1] - width < model.scale):
            raise ImageError(
                f"The model makes '{small}' {width}x{height} large, but its original is {original.shape[1]}x{original.shape[0]}. "
                f"Use a folder made for x{model.scale}."
            )
        # Originals are often a little larger than a multiple of the scale; what is small was made of their upper left.
        yield Result(name, quality(result, original[:height, :width], border=model.scale))


def mean(results: list[Result]) -> Quality:
    """The mean of each figure."""
    return Quality(sum(r.quality.psnr for r in results) / len(results), sum(r.quality.ssim for r in results) / len(results))


def _rgb(image: Tensor) -> Tensor:
    return image.expand(-1, -1, -1, 3) if image.shape[-1] == 1 else image[..., :3]
