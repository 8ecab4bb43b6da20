"""``span-upscale``: the options to upscale images and videos, and the checks that need neither torch nor the model."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._util.files import check_output
from .._util.process import paused_collection
from .._util.text import join_words
from ..batch import Formats, Found, find, parse_formats
from ..batch.find_inputs import is_pattern, output_beside
from ..errors import ImageError, OptionError
from ..image_ops.sizes import Factor, Size
from ..video.codecs import AUTO, CODECS
from .model_options import add_model, load_model
from .upscale_options import add_settings, parse_settings

_DEFAULT_MODEL = "spanx4_ch52"


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    parser = argparse.ArgumentParser(
        prog="span-upscale",
        description="Upscale images and videos with a network of the SPAN family.",
        epilog="Other commands: 'span-upscale info MODEL' describes a model, 'span-upscale convert MODEL OUTPUT' writes it for another "
        "program, 'span-upscale evaluate DIR --model MODEL' measures PSNR and SSIM on a benchmark, and 'span-upscale completion SHELL' "
        "prints a completion script. Each has its own --help.",
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="an image, an animation, a video, a folder of these, or a pattern such as 'scans/*.png'"
    )
    parser.add_argument(
        "output",
        nargs="?",
        metavar="OUTPUT",
        help="for a single file, the file to write; its suffix selects the format. Otherwise a folder, in which files keep their names. "
        "A single INPUT needs no OUTPUT: the result of photo.jpg is then photo_x4.png, and that of the folder scans is scans_x4",
    )
    add_model(parser, "--model", default=_DEFAULT_MODEL)
    parser.add_argument("--device", metavar="NAME", help="device to compute on, such as cuda:1 or cpu (default: a GPU, if any)")
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="compute on the Ray cluster at an address such as head:6379; all its machines must see INPUT and OUTPUT. auto: the cluster of "
        "this machine or, if there is none, several processes here. local: always several processes here",
    )
    add_settings(parser)
    _add_files(parser)
    _add_formats(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the size of every result and an estimate of the time; write nothing")
    parser.add_argument("-v", "--verbose", action="store_true", help="name every file that is done, skipped or ignored")
    parser.add_argument("--version", action=_PrintVersion)
    parser.set_defaults(run=run)
    return parser


def _add_files(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("files")
    group.add_argument("-r", "--recursive", action="store_true", help="search folders within folders; OUTPUT gets the same structure")
    existing = group.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_const", dest="existing", const="replace", help="replace existing files")
    existing.add_argument("--skip-existing", action="store_const", dest="existing", const="skip", help="skip files whose result exists")
    group.add_argument(
        "--resume",
        action="store_true",
        help="continue an interrupted run: skip files whose result exists, and write videos in segments that a later --resume can reuse",
    )
    parser.set_defaults(existing="keep")


def _add_formats(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("formats")
    group.add_argument(
        "--format",
        action="append",
        default=[],
        metavar="NAME",
        help="format of results in a folder: png, jpg, webp, avif, gif or tiff for images, mp4, mov, mkv or webm for videos. Give it twice "
        "to set both (default: as the input; a format that cannot be written becomes png or mkv)",
    )
    group.add_argument("--quality", type=int, metavar="N", help="quality of JPEG, WebP and AVIF, 1 to 100 (default: 95, lossless and 90)")
    codecs = (AUTO, *CODECS)
    group.add_argument(
        "--codec", choices=codecs, metavar="NAME", help=f"video codec: {join_words(codecs)} (default: h264, or av1 in .webm)"
    )
    group.add_argument(
        "--video-quality", type=float, metavar="N", help="constant rate factor of the codec: lower values mean better, larger files"
    )
    group.add_argument("--preset", metavar="NAME", help="speed preset of the video codec, such as ultrafast for h264")
    group.add_argument(
        "--pixel-format",
        metavar="NAME",
        help="FFmpeg pixel format of videos, such as yuv420p, which plays everywhere (default: as the input)",
    )


def run(options: argparse.Namespace, **replaced: Any) -> int:
    """Run the command and return its exit code. `replaced` goes to `upscale_files`.

    Mistakes that show without the model are reported first, because importing torch and spandrel takes seconds.
    """
    inputs, output = _split(options)
    formats, settings = parse_formats(options.format), parse_settings(options)
    if options.quality is not None and not 1 <= options.quality <= 100:
        raise OptionError(f"The quality is {options.quality}. Expected 1 to 100.")
    if options.ray is not None and options.device is not None:
        raise OptionError(
            "--device cannot be used with --ray, because each machine of a cluster uses its best device. Leave one of them out."
        )
    found = None if output is None else _find(inputs, output, options, formats)
    _check_sources(inputs if found is None else [source for source, _ in found.pairs])
    if found is not None and not found.folder and options.existing == "keep" and not options.resume and not options.dry_run:
        check_output(found.pairs[0][1], overwrite=False)
    model = load_model(options)
    if found is None:  # the name of the result states the scale of the model
        beside = output_beside(Path(inputs[0]), _label(settings.size, model.scale), formats)
        found = find(inputs, beside, recursive=options.recursive, formats=formats)
    with paused_collection():
        from .file_runner import upscale_files
    return upscale_files(options, settings, found, model, **replaced)


def _split(options: argparse.Namespace) -> tuple[list[str], str | None]:
    """Return inputs and output. The parser counts the last argument among the inputs."""
    *inputs, last = options.inputs
    if inputs:
        return inputs, last
    if not is_pattern(last):
        return [last], None
    raise OptionError(f"The pattern {last} needs a folder for the results. Add an OUTPUT.")


def _find(inputs: Sequence[str], output: str, options: argparse.Namespace, formats: Formats) -> Found:
    found = find(inputs, output, recursive=options.recursive, formats=formats)
    if options.format and not found.folder:
        raise OptionError(f"--format needs a folder to write to, but {output} is a file. Change its suffix, or name a folder.")
    return found


def _check_sources(sources: Sequence[Path | str]) -> None:
    """Raise an ImageError if none of the sources exists. Single missing ones among others are listed with the failures."""
    if sources and not any(map(os.path.lexists, sources)):
        raise ImageError(f"There is no file {join_words(sources[:4])}. Check the names and the folder.")


def _label(size: Size | None, scale: int) -> str:
    """Return what the name of a result adds to that of its source."""
    if size is not None and not isinstance(size, Factor):
        return "_upscaled"
    return f"_x{scale if size is None else size.factor:g}"


class _PrintVersion(argparse.Action):
    """Look the version up only when the user asks for it."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("span-upscale")
        except PackageNotFoundError:
            number = "(not installed)"
        print(f"span-upscale {number}")
        parser.exit()
