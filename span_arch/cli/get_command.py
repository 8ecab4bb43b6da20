"""``span-upscale get``: download a known model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import OptionError
from ..models.catalogue import KnownModel, require_known
from ..models.download_file import TIMEOUT, download, part_of
from ..models.installed import locate, model_folders
from .models_command import add_models_dir

_LONGEST = 86_400


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    parser = argparse.ArgumentParser(
        prog="span-upscale get",
        description="Show the licence of a known model, download it, and check its size and SHA-256. The next call continues a "
        "download that broke off.",
    )
    parser.add_argument("name", metavar="NAME", help="a name that 'span-upscale models' lists; upper and lower case are the same")
    add_models_dir(parser, "the folder to download to; further folders are searched too")
    parser.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT,
        metavar="SECONDS",
        help="how long to wait for a server that sends nothing (default: %(default)g)",
    )
    parser.set_defaults(run=_run)
    return parser


def _run(options: argparse.Namespace) -> int:
    if not 0 < options.timeout <= _LONGEST:
        raise OptionError(
            f"--timeout is {options.timeout:g}. It must be above 0 and at most {_LONGEST}. Leave it out for {TIMEOUT:g} seconds."
        )
    get_model(require_known(options.name), model_folders(options.models_dir), options.timeout)
    return 0


def get_model(model: KnownModel, folders: Sequence[Path], timeout: float = TIMEOUT) -> None:
    """Download a model into the first folder, unless one of the folders has it. Print its licence first, and its path at the end.

    Raises:
        SpanArchError: it cannot be downloaded (see `download`).
    """
    print(f"{model.label}: x{model.scale}, {model.purpose}, by {model.author}")
    print(f"licence: {model.licence_text}", flush=True)
    if model.builtin:
        print("built in: there is nothing to download")
        return
    if (path := locate(model, folders)) is not None:
        print(f"already installed: {path}")
        return
    if (file := model.file_to_download) is not None:
        print(f"from: {model.page}, {file.size / 1e6:.1f} MB", flush=True)
    try:
        path = download(model, folders[0], timeout=timeout)
    except KeyboardInterrupt:
        if (part := part_of(folders[0] / model.file_name)).exists():
            print(f"span-upscale: {part} keeps {part.stat().st_size:,} bytes. Run the command again to continue.", file=sys.stderr)
        raise
    print(f"saved: {path}")
