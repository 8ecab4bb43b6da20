"""The command line, ``span-upscale``.

Exit codes: 0 done; 2 the command line makes no sense; 3 the model; 4 the picture; 5 the output file; 6 out of memory, or a network
that gives no finite result; 7 a package is missing; 130 stopped with Ctrl+C. Messages go to standard error, results to standard
output.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import torch

from . import errors, sizes
from .evaluate import evaluate, mean
from .files import check_output
from .info import describe
from .load import load
from .memory import best_device
from .meter import progress_bar
from .model import FamilyModel
from .pictures import Picture, check_format, read_picture, write_picture
from .precision import PRECISIONS
from .report import Report
from .resize import FILTERS
from .save import Form, save
from .settings import Settings
from .transparency import Alpha
from .upscale import upscale_frames

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
_DEFAULT_MODEL = "spanx4_ch52"


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
    _add_size(parser)
    _add_precision(parser)
    parser.add_argument("--tile", type=_positive, metavar="N", help="side of a tile in pixels of the picture (default: the best)")
    parser.add_argument("--device", type=_device, metavar="NAME", help="where to compute, such as cuda:1 or cpu (default: a GPU, if any)")
    parser.add_argument(
        "--compile", action="store_true", help="compile the network with torch.compile first, which is meant for long work on a GPU"
    )
    parser.add_argument(
        "--alpha",
        type=_alpha,
        default="resize",
        metavar="HOW",
        help="what becomes of transparency: resize, model (upscaled by the model), or a colour to compose the picture over, as 255,255,255 "
        "(default: resize)",
    )
    parser.add_argument(
        "--seamless", choices=("x", "y", "xy"), default="", help="a texture that repeats itself: keep opposite edges fitting each other"
    )
    _add_ensemble(parser)
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
    _add_ensemble(parser)
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


def _add_size(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "size of OUTPUT",
        "At most one; without, the size of the picture times the model's scale. The model is run as often as it takes, and a filter does "
        "the rest.",
    )
    group.add_argument("--scale", type=float, metavar="X", help="so many times as large as the picture: 1.5, 2, 3.7")
    group.add_argument("--size", type=_width_and_height, metavar="WxH", help="a width and a height in pixels: 1920x1080")
    group.add_argument("--longest", type=int, metavar="N", help="length of the longest side in pixels")
    group.add_argument("--shortest", type=int, metavar="N", help="length of the shortest side in pixels")
    group.add_argument("--megapixels", type=float, metavar="M", help="millions of pixels in all")
    group.add_argument(
        "--fit",
        choices=sizes.FITS,
        help="how a picture of other proportions meets --size: 'stretch' changes them (default), 'fit' makes it as large as goes in, "
        "'fill' covers the size and cuts off what is over",
    )
    group.add_argument("--filter", choices=FILTERS, default="lanczos", help="what resizes (default: lanczos)")


def _add_precision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="auto", help="type of the arithmetic (default: the fastest without loss)"
    )


def _add_ensemble(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ensemble", action="store_true", help="best quality: the mean of eight orientations, for eight times the work")


def _alpha(text: str) -> Alpha:
    if text == "resize" or text == "model":
        return text
    levels = [int(level) if level.strip().isdecimal() else -1 for level in text.split(",")]
    if len(levels) != 3 or not all(0 <= level <= 255 for level in levels):
        raise argparse.ArgumentTypeError(f"'{text}' is neither resize nor model, nor a colour of three levels such as 255,255,255")
    red, green, blue = (level / 255 for level in levels)
    return red, green, blue


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


def _width_and_height(text: str) -> tuple[int, int]:
    try:
        width, height = map(int, text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no size; expected a width and a height in pixels, such as 1920x1080") from None
    return width, height


def _size(options: argparse.Namespace) -> sizes.Size | None:
    """The size that is asked for."""

    def exact(size: tuple[int, int]) -> sizes.Exact:
        return sizes.Exact(*size, fit=options.fit or "stretch")

    kinds: dict[str, Callable[[Any], sizes.Size]] = {
        "scale": sizes.Factor,
        "size": exact,
        "longest": sizes.Longest,
        "shortest": sizes.Shortest,
        "megapixels": sizes.Megapixels,
    }
    asked = [name for name in kinds if getattr(options, name) is not None]
    if len(asked) > 1:
        raise errors.OptionError(f"Sizes are asked for by --{' and --'.join(asked)}; give only one of them.")
    if options.fit and asked != ["size"]:
        raise errors.OptionError(
            f"--fit {options.fit} tells how a picture meets --size, which is absent; give --size WxH, or leave --fit out."
        )
    return kinds[asked[0]](getattr(options, asked[0])) if asked else None


def _settings(options: argparse.Namespace) -> Settings:
    return Settings(
        size=_size(options),
        filter=options.filter,
        tile=options.tile,
        precision=options.precision,
        alpha=options.alpha,
        seamless=options.seamless,
        ensemble=options.ensemble,
        compiled=options.compile,
    )


def _upscale(options: argparse.Namespace) -> None:
    settings = _settings(options)
    check_format(options.output)
    check_output(options.output, overwrite=options.overwrite)  # before the work rather than after it
    picture = read_picture(options.input)
    model, device = _load(options), options.device or best_device()
    reports: list[Report] = []
    with progress_bar(disable=None, leave=False) as progress:
        results = list(upscale_frames(model, picture.image, settings, device=device, progress=progress, report=reports.append))
    write_picture(options.output, Picture(torch.stack(results), picture.info), overwrite=options.overwrite)
    print(f"{options.output}: {reports[0]}")


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
    results = list(evaluate(model, options.folder, precision=options.precision, ensemble=options.ensemble))
    width = max(len("mean"), *(len(result.name) for result in results))
    print(f"{'':<{width}}  PSNR/dB    SSIM")
    for name, quality in [*((result.name, result.quality) for result in results), ("mean", mean(results))]:
        print(f"{name:<{width}}  {quality.psnr:7.3f}  {quality.ssim:.4f}")
