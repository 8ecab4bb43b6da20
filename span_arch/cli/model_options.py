"""Options that commands share."""

from __future__ import annotations

import argparse
from typing import Any

from ..engine.precision import PRECISIONS
from ..models.build import FamilyModel
from ..models.load import load


def add_model(parser: argparse.ArgumentParser, name: str, **settings: Any) -> None:
    """Which model, and how it is to be loaded."""
    default = f" (default: {settings['default']})" if "default" in settings else ""
    text = f"a built-in network, or a .safetensors, .pth, .pt, .ckpt, .onnx or ncnn .param file{default}"
    parser.add_argument(name, metavar="MODEL", help=text, **settings)
    parser.add_argument(
        "--normalise",
        default="auto",
        metavar="HOW",
        help="what the model does to its image first: auto (as its file states, or else as it answers to a probe), paper, imagenet, none, "
        "or a mean for R, G, B and a range, as '0.485 0.456 0.406 1' (default: auto)",
    )


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Which type of arithmetic."""
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="auto", help="type of the arithmetic (default: the fastest without loss)"
    )


def add_ensemble(parser: argparse.ArgumentParser) -> None:
    """Whether all orientations are tried."""
    parser.add_argument("--ensemble", action="store_true", help="best quality: the mean of eight orientations, for eight times the work")


def loaded(options: argparse.Namespace) -> FamilyModel:
    """The model that is asked for.

    Raises:
        SpanArchError: as `load`.
    """
    return load(options.model, normalise=options.normalise)
