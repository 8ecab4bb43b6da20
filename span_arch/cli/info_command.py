"""``span-upscale info``."""

from __future__ import annotations

import argparse

from ..models.describe import describe
from .model_options import add_model, loaded


def parser() -> argparse.ArgumentParser:
    """Of its command line."""
    parser = argparse.ArgumentParser(prog="span-upscale info", description="Tells what a model is, and how its file stores it.")
    add_model(parser, "model")
    parser.set_defaults(run=_run)
    return parser


def _run(options: argparse.Namespace) -> int:
    print(describe(loaded(options)))
    return 0
