"""``span-upscale convert``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

import torch

from .._util.files import check_output
from ..models.save import Form, save
from .model_options import add_model, loaded

_DTYPES = ("float32", "float16", "bfloat16")


def parser() -> argparse.ArgumentParser:
    """Of its command line."""
    parser = argparse.ArgumentParser(
        prog="span-upscale convert",
        description="Writes a model to a file for this or another program, tries it there on a small picture, and compares.",
    )
    add_model(parser, "model")
    parser.add_argument(
        "output",
        type=Path,
        metavar="OUTPUT",
        help="what to write: .safetensors, .pth, .onnx (for onnxruntime, OpenVINO, TensorRT), or .param (an ncnn pair with its .bin, for "
        "Upscayl, which wants x2 or x4 in the name)",
    )
    parser.add_argument(
        "--form",
        choices=get_args(Form),
        default="fused",
        help="'training': with the branches that spandrel, chaiNNer and ComfyUI's own loader want (.safetensors, .pth; default: fused)",
    )
    parser.add_argument("--dtype", choices=_DTYPES, help="type of the weights (default: float32)")
    parser.add_argument("--overwrite", action="store_true", help="replace OUTPUT if it exists")
    parser.set_defaults(run=_run)
    return parser


def _run(options: argparse.Namespace) -> int:
    check_output(options.output, overwrite=options.overwrite)
    dtype = getattr(torch, options.dtype) if options.dtype else None
    model = loaded(options)
    save(model, options.output, form=options.form, dtype=dtype, overwrite=options.overwrite)
    print(f"{options.output}: {model.record.name} x{model.scale}, {options.form}, tried and compared")
    return 0
