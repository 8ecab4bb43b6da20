"""``span-upscale evaluate``: measure a model on a benchmark of small images and their originals."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from ..engine.settings import Settings
from ..errors import ImageError
from .model_options import add_ensemble, add_model, add_precision, load_model

if TYPE_CHECKING:
    from torch import Tensor

    from ..image_ops.metrics import Quality
    from ..models.build import Model

_HR, _LR = "_HR", "_LR"


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    parser = argparse.ArgumentParser(
        prog="span-upscale evaluate",
        description="Measure PSNR and SSIM on Y as in super-resolution papers, on a folder of image pairs NAME_LR.png and NAME_HR.png.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder of the benchmark, such as Set5/x4")
    add_model(parser, "--model", required=True)
    add_precision(parser)
    add_ensemble(parser)
    parser.set_defaults(run=_run)
    return parser


def _run(options: argparse.Namespace) -> int:
    settings = Settings(precision=options.precision, ensemble=options.ensemble)
    _pairs(options.folder)  # faults of the folder are reported before the model is loaded
    results = evaluate(load_model(options), options.folder, settings)
    width = max(map(len, [*results, "mean"]))
    print(f"{'':<{width}}  PSNR/dB    SSIM")
    for name, result in [*results.items(), ("mean", mean(results.values()))]:
        print(f"{name:<{width}}  {result.psnr:7.3f}  {result.ssim:.4f}")
    return 0


def evaluate(model: Model, folder: Path, settings: Settings | None = None) -> dict[str, Quality]:
    """Upscale each small image of a folder, compare it with its original, and return the quality of each by its name.

    Raises:
        ImageError: the folder does not exist, it has no complete pairs, or an original does not have the size of the result.
    """
    from ..image_files import read_image
    from ..image_ops.metrics import quality
    from ..upscaling import upscale

    results: dict[str, Quality] = {}
    for name, small, large in _pairs(folder):
        result = upscale(model, _rgb(read_image(small).image), settings)[0]
        original = _rgb(read_image(large).image)[0]
        height, width = result.shape[:2]
        if not (0 <= original.shape[0] - height < model.scale and 0 <= original.shape[1] - width < model.scale):
            raise ImageError(
                f"The model enlarges {small} to {width}x{height}, but the original is {original.shape[1]}x{original.shape[0]}. "
                f"Use a folder made for x{model.scale}."
            )
        # Originals are often a little larger than a multiple of the scale. The small image was made from their upper left.
        results[name] = quality(result, original[:height, :width], border=model.scale)
    return results


def mean(results: Collection[Quality]) -> Quality:
    """Return the mean of PSNR and of SSIM."""
    from ..image_ops.metrics import Quality

    return Quality(sum(one.psnr for one in results) / len(results), sum(one.ssim for one in results) / len(results))


def _pairs(folder: Path) -> list[tuple[str, Path, Path]]:
    """Return the name, the small image and the original of each pair in a folder, sorted by name."""
    if not folder.is_dir():
        raise ImageError(f"The folder {folder} does not exist. Name a folder with images NAME_LR.png and NAME_HR.png.")
    files = sorted(folder.iterdir())
    small, large = ({file.stem.removesuffix(end): file for file in files if file.stem.endswith(end)} for end in (_LR, _HR))
    if not small and not large:
        raise ImageError(f"The folder {folder} contains no images named like a_LR.png and a_HR.png. Rename the images to match.")
    if alone := sorted(small.keys() ^ large.keys()):
        raise ImageError(
            f"In {folder}, some images have no partner: {', '.join(alone)}. Add the missing {_LR[1:]} or {_HR[1:]} image of each."
        )
    return [(name, file, large[name]) for name, file in small.items()]


def _rgb(image: Tensor) -> Tensor:
    return image.expand(-1, -1, -1, 3) if image.shape[-1] == 1 else image[..., :3]
