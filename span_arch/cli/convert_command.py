"""``span-upscale convert``: write a model in another format."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .._util.files import check_output
from .model_options import add_model, load_model


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    parser = argparse.ArgumentParser(
        prog="span-upscale convert",
        description="Write a model to a file for this or another program, then run the file on a small image to check it.",
    )
    add_model(parser, "model")
    parser.add_argument(
        "output",
        type=Path,
        metavar="OUTPUT",
        help="the file to write: .safetensors, .pth, .onnx (for onnxruntime, OpenVINO and TensorRT), or .param (an ncnn pair with its "
        ".bin; for Upscayl, put x2 or x4 into the name)",
    )
    parser.add_argument(
        "--form",
        choices=("fused", "training"),
        default="fused",
        help="'training' writes the unfused form that spandrel, chaiNNer and ComfyUI's own loader need, as .safetensors or .pth "
        "(default: fused)",
    )
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), help="data type of the weights (default: float32)")
    parser.add_argument("--overwrite", action="store_true", help="replace OUTPUT if it exists")
    parser.set_defaults(run=_run)
    return parser


def _run(options: argparse.Namespace) -> int:
    check_output(options.output, overwrite=options.overwrite)
    model = load_model(options)
    import torch

    from ..models.save import save

    dtype = getattr(torch, options.dtype) if options.dtype else None
    save(model, options.output, form=options.form, dtype=dtype, overwrite=options.overwrite)
    print(f"{options.output}: {model.architecture.name} x{model.scale}, {options.form} form, checked against the model")
    if options.form == "training" and not options.unbounded:
        print(
            "Other programs run this form without bounds on activations: patterns of one pixel may turn into noise there.", file=sys.stderr
        )
    return 0
