"""The options that several commands share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from .._util.process import paused_collection
from .._util.text import join_words
from ..archs.normalisation import parse_normalisation
from ..engine.settings import PRECISIONS
from ..models.model_files import builtin_names, find_model

if TYPE_CHECKING:
    from ..models.build import Model


def add_model(parser: argparse.ArgumentParser, name: str, **settings: Any) -> None:
    """Add the argument or option `name` for the model, ``--normalise`` and ``--unbounded``. `settings` go to `add_argument`."""
    default = f" (default: {settings['default']})" if "default" in settings else ""
    text = f"a file (.safetensors, .pth, .pt, .ckpt, .onnx or ncnn .param), or a built-in network: {join_words(builtin_names())}{default}"
    parser.add_argument(name, metavar="MODEL", help=text, **settings)
    parser.add_argument(
        "--normalise",
        default="auto",
        metavar="HOW",
        help="how the model normalises its input: auto (read from its file, or else measured on small test images), paper, "
        "imagenet, none, or a mean for R, G, B and a range, such as '0.485 0.456 0.406 1' (default: auto)",
    )
    parser.add_argument(
        "--unbounded",
        action="store_true",
        help="run the network as it was trained, without bounds on its activations, for comparisons",
    )


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Add ``--precision``."""
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="data type of the computation (default: auto, the fastest that costs at most 0.01 dB)",
    )


def add_ensemble(parser: argparse.ArgumentParser) -> None:
    """Add ``--ensemble``."""
    parser.add_argument("--ensemble", action="store_true", help="best quality: average eight orientations, for eight times the work")


def load_model(options: argparse.Namespace) -> Model:
    """Load the model that the options select.

    Raises:
        SpanArchError: the model cannot be loaded (see `load`).
    """
    find_model(options.model)  # a wrong name or normalisation is reported before torch is imported, which takes seconds
    parse_normalisation(options.normalise)
    with paused_collection():
        from ..models.load import load
    return load(options.model, normalise=options.normalise, bounded=not options.unbounded)
