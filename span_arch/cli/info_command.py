"""``span-upscale info``: describe a model."""

from __future__ import annotations

import argparse

from .model_options import add_model, load_model


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    parser = argparse.ArgumentParser(
        prog="span-upscale info", description="Describe a model: architecture, scale, size, normalisation, and how its file stores it."
    )
    add_model(parser, "model")
    parser.set_defaults(run=_run)
    return parser


def _run(options: argparse.Namespace) -> int:
    model = load_model(options)
    from ..models.describe import describe

    print(describe(model))
    return 0
