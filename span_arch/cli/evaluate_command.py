"""``span-upscale evaluate``."""

from __future__ import annotations

import argparse
from pathlib import Path

from .evaluation import evaluate, mean
from .model_options import add_ensemble, add_model, add_precision, loaded


def parser() -> argparse.ArgumentParser:
    """Of its command line."""
    parser = argparse.ArgumentParser(
        prog="span-upscale evaluate",
        description="Measures PSNR and SSIM on Y, by the MATLAB convention of super-resolution papers, over a folder of pairs "
        "NAME_LR.png and NAME_HR.png.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder of the benchmark, such as Set5/x4")
    add_model(parser, "--model", required=True)
    add_precision(parser)
    add_ensemble(parser)
    parser.set_defaults(run=_run)
    return parser


def _run(options: argparse.Namespace) -> int:
    model = loaded(options)
    results = list(evaluate(model, options.folder, precision=options.precision, ensemble=options.ensemble))
    width = max(len("mean"), *(len(result.name) for result in results))
    print(f"{'':<{width}}  PSNR/dB    SSIM")
    for name, quality in [*((result.name, result.quality) for result in results), ("mean", mean(results))]:
        print(f"{name:<{width}}  {quality.psnr:7.3f}  {quality.ssim:.4f}")
    return 0
