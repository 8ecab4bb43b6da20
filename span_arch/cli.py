"""The command line, ``span-upscale``.

Exit codes: 0 done; 2 the command line makes no sense; 3 the model; 4 the picture; 5 the output file; 6 out of memory, or a network
that gives no finite result; 7 a package is missing; 130 stopped with Ctrl+C. Messages go to standard error, results to standard
output.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from tqdm import tqdm

from . import errors
from .evaluate import evaluate, mean
from .files import check_output
from .info import describe
from .load import load
from .memory import best_device
from .model import FamilyModel
from .pictures import Picture, check_format, read_picture, write_picture
from .precision import PRECISIONS
from .save import Form, save
from .upscale import Progress, upscale

_EXIT_CODES: tuple[tuple[type[errors.SpanArchError], int], ...] = (
    (errors.OptionError, 2),
    (errors.CheckpointError, 3),
    (errors.ImageError, 4),
    (errors.OutputError, 5),
    (errors.VerificationError, 5),
    (errors.MissingExtraError, 7),
    (errors.SpanArchError, 6),
)

_DTYPES = ("float32", "float16", "bfloat16")
_DEFAULT_MODEL = "spanx4_ch48"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line, and returns its exit code."""
    options = _parse(sys.argv[1:] if arguments is None else list(arguments))
    run: Callable[[argparse.Namespace], None] = options.run
    try:
        run(options)
    except errors.SpanArchError as error:
        print(f"span-upscale: {error}", file=sys.stderr)
        return next(code for kind, code in _EXIT_CODES if isinstance(error, kind))
    except KeyboardInterrupt:
        print("span-upscale: stopped; nothing was written.", file=sys.stderr)
        return 130
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    commands = {"info": _info_parser, "evaluate": _evaluate_parser, "convert": _convert_parser}
    if arguments and arguments[0] in commands:  # pictures of these names can be given as ./info
        return commands[arguments[0]]().parse_args(arguments[1:])
    return _upscale_parser().parse_args(arguments)


def _upscale_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="span-upscale",
        description="Upscales a picture with a network of the SPAN family.",
        epilog="Further commands: 'span-upscale info MODEL' tells what a model is; 'span-upscale convert IN OUT' writes it for another "
        "program; 'span-upscale evaluate DIR --model MODEL' measures PSNR and SSIM on a benchmark. Each has its own --help.",
    )
    parser.add_argument("input", type=Path, metavar="INPUT", help="the picture to upscale")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="where to write the result; the suffix chooses the format")
    _add_model(parser, "--model", default=_DEFAULT_MODEL)
    _add_precision(parser)
    parser.add_argument("--tile", type=_positive, metavar="N", help="side of a tile in pixels of the picture (default: the best)")
    parser.add_argument("--device", type=_device, metavar="NAME", help="where to compute, such as cuda:1 or cpu (default: a GPU, if any)")
    parser.add_argument(
        "--compile", action="store_true", help="compile the network with torch.compile first, which is meant for long work on a GPU"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUTPUT if it exists")
    parser.set_defaults(run=_upscale)
    return parser


def _info_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="span-upscale info", description="Tells what a model is, and how its file stores it.")
    _add_model(parser, "model")
    parser.set_defaults(run=_info)
    return parser


def _evaluate_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="span-upscale evaluate",
        description="Measures PSNR and SSIM on Y, by the MATLAB convention of super-resolution papers, over a folder of pairs "
        "NAME_LR.png and NAME_HR.png.",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder of the benchmark, such as Set5/x4")
    _add_model(parser, "--model", required=True)
    _add_precision(parser)
    parser.set_defaults(run=_evaluate)
    return parser


def _convert_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="span-upscale convert",
        description="Writes a model to a file for this or another program, tries it there on a small picture, and compares.",
    )
    _add_model(parser, "model")
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
    parser.set_defaults(run=_convert)
    return parser


def _add_model(parser: argparse.ArgumentParser, name: str, **settings: Any) -> None:
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


def _add_precision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="auto", help="type of the arithmetic (default: the fastest without loss)"
    )


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is below 1")
    return value


def _device(text: str) -> torch.device:
    try:
        device = torch.device(text)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        raise argparse.ArgumentTypeError(f"there is no device '{text}' here ({str(error).splitlines()[0]})") from None
    return device


def _upscale(options: argparse.Namespace) -> None:
    check_format(options.output)
    check_output(options.output, overwrite=options.overwrite)  # before the work rather than after it
    picture = read_picture(options.input)
    model = _load(options)
    with _progress_bar() as progress:
        result = upscale(
            model,
            picture.image,
            tile=options.tile,
            precision=options.precision,
            device=options.device or best_device(),
            compiled=options.compile,
            progress=progress,
        )
    write_picture(options.output, Picture(result, picture.info), overwrite=options.overwrite)
    before, after = (f"{image.shape[2]}x{image.shape[1]}" for image in (picture.image, result))
    print(f"{options.output}: {after}, from {before} by {options.model}")


def _convert(options: argparse.Namespace) -> None:
    check_output(options.output, overwrite=options.overwrite)
    dtype = getattr(torch, options.dtype) if options.dtype else None
    model = _load(options)
    save(model, options.output, form=options.form, dtype=dtype, overwrite=options.overwrite)
    print(f"{options.output}: {model.record.name} x{model.scale}, {options.form}, tried and compared")


def _load(options: argparse.Namespace) -> FamilyModel:
    return load(options.model, normalise=options.normalise)


def _info(options: argparse.Namespace) -> None:
    print(describe(_load(options)))


def _evaluate(options: argparse.Namespace) -> None:
    model = _load(options)
    results = list(evaluate(model, options.folder, precision=options.precision))
    width = max(len("mean"), *(len(result.name) for result in results))
    print(f"{'':<{width}}  PSNR/dB    SSIM")
    for name, quality in [*((result.name, result.quality) for result in results), ("mean", mean(results))]:
        print(f"{name:<{width}}  {quality.psnr:7.3f}  {quality.ssim:.4f}")


@contextlib.contextmanager
def _progress_bar() -> Generator[Progress]:
    """A bar of the pixels done, on standard error, where somebody looks."""
    with tqdm(unit="px", unit_scale=True, disable=None, dynamic_ncols=True, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress
