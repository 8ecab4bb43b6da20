"""``span-upscale``: upscale images and videos, one or many."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from .._util.memory import best_device
from .._util.process import deferred_interrupt
from .._util.text import first_line, join_words
from ..batch import Found, Job, Outcome, default_codec, find, parse_formats, upscale_jobs
from ..cluster import upscale_on_ray
from ..engine.context import Context
from ..engine.report import Report
from ..errors import OptionError
from ..models.build import FamilyModel
from ..video import VideoSettings
from ..video.codecs import AUTO, CODECS
from .dry_run import print_forecast
from .exit_codes import ExitCode
from .model_options import add_model, load_model
from .progress_bars import ProgressBars
from .upscale_options import add_settings, parse_settings

_DEFAULT_MODEL = "spanx4_ch52"
_Upscale = Callable[[FamilyModel, Sequence[Job], Context], Generator[Outcome]]
_Started = tuple[ProgressBars, Generator[Outcome]]


def build_parser() -> argparse.ArgumentParser:
    """Build the argument parser."""
    parser = argparse.ArgumentParser(
        prog="span-upscale",
        description="Upscale images and videos with a network of the SPAN family.",
        epilog="Other commands: 'span-upscale info MODEL' describes a model, 'span-upscale convert MODEL OUTPUT' writes it for another "
        "program, and 'span-upscale evaluate DIR --model MODEL' measures PSNR and SSIM on a benchmark. Each has its own --help.",
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="an image, an animation, a video, a folder of these, or a pattern such as 'scans/*.png'"
    )
    parser.add_argument(
        "output",
        metavar="OUTPUT",
        help="for a single file, the file to write; its suffix selects the format. Otherwise a folder, in which files keep their names",
    )
    add_model(parser, "--model", default=_DEFAULT_MODEL)
    parser.add_argument(
        "--device", type=_device, metavar="NAME", help="device to compute on, such as cuda:1 or cpu (default: a GPU, if any)"
    )
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
    parser.add_argument("--version", action="version", version=f"span-upscale {_version()}")
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


def run(options: argparse.Namespace, *, upscale: _Upscale = upscale_jobs) -> int:
    """Run the command and return its exit code. `upscale` runs jobs on this machine."""
    formats, settings = parse_formats(options.format), parse_settings(options)
    if options.quality is not None and not 1 <= options.quality <= 100:
        raise OptionError(f"The quality is {options.quality}. Expected 1 to 100.")
    if options.ray is not None and options.device is not None:
        raise OptionError(
            "--device cannot be used with --ray, because each machine of a cluster uses its best device. Leave one of them out."
        )
    found = find(options.inputs, options.output, recursive=options.recursive, formats=formats)
    if options.format and not found.folder:
        raise OptionError(f"--format needs a folder to write to, but {options.output} is a file. Change its suffix, or name a folder.")
    existing = "skip" if options.resume and options.existing == "keep" else options.existing
    jobs = [
        Job(source, target, settings, options.quality, _video_settings(options, target), existing, options.resume, found.folder)
        for source, target in found.pairs
    ]
    model, reports = load_model(options), list[Report]()
    context = Context(options.device or best_device(), report=reports.append)
    if options.dry_run:
        return _dry_run(model, jobs, found, context, verbose=options.verbose)
    started = _started(model, jobs, context, options.ray, upscale)
    return _upscale_all(jobs, started, found, verbose=options.verbose) if found.folder else _upscale_one(jobs[0], started, reports)


@contextmanager
def _started(model: FamilyModel, jobs: Sequence[Job], context: Context, ray: str | None, upscale: _Upscale) -> Generator[_Started]:
    """Start the jobs on this machine or, if `ray` is an address, on a cluster."""
    with ExitStack() as stack:
        # A cluster may be waited for at any point, so a signal interrupts it at once. Here, it first lets the helper threads end.
        check = stack.enter_context(deferred_interrupt()) if ray is None else None
        bars = stack.enter_context(ProgressBars(len(jobs), check))
        here = replace(context, progress=bars.show)
        outcomes = upscale(model, jobs, here) if ray is None else upscale_on_ray(model, jobs, address=ray)
        yield bars, stack.enter_context(closing(outcomes))


def _upscale_one(job: Job, started: AbstractContextManager[_Started], reports: Sequence[Report]) -> int:
    with started as (_, stream):
        (outcome,) = stream
    if outcome.error is not None:
        raise outcome.error
    print(f"{job.target}: {' '.join([str(reports[0]), *outcome.notes])}" if reports else outcome)
    return ExitCode.DONE


def _upscale_all(jobs: Sequence[Job], started: AbstractContextManager[_Started], found: Found, *, verbose: bool) -> int:
    outcomes: list[Outcome] = []
    begin, stopped = time.perf_counter(), False
    try:
        with started as (bars, stream):
            for outcome in stream:
                outcomes.append(outcome)
                bars.finish_file()
                if verbose and outcome.error is None:
                    bars.print(str(outcome))
    except KeyboardInterrupt:
        stopped = True
    _print_summary(outcomes, found, time.perf_counter() - begin, verbose=verbose)
    left = len(jobs) - len(outcomes)
    if stopped:
        print(f"span-upscale: stopped; finished files are kept, and {left} of {len(jobs)} files are left.", file=sys.stderr)
    elif left:
        print(f"span-upscale: the disk is full; {left} of {len(jobs)} files were not tried.", file=sys.stderr)
    code = _print_failures([str(outcome) for outcome in outcomes if outcome.error is not None], found)
    return ExitCode.STOPPED if stopped else code


def _dry_run(model: FamilyModel, jobs: Sequence[Job], found: Found, context: Context, *, verbose: bool) -> int:
    failing = print_forecast(model, jobs, context)
    if failing and not found.folder:
        raise failing[0][1]
    _print_ignored(found, verbose=verbose)
    return _print_failures([f"{job.source}: {error}" for job, error in failing], found)


def _print_summary(outcomes: Sequence[Outcome], found: Found, seconds: float, *, verbose: bool) -> None:
    counts = Counter(outcome.state for outcome in outcomes)
    parts = [f"{counts[state]} {state}" for state in ("done", "skipped", "failed") if counts[state] or state == "done"]
    speed = f" ({counts['done'] / seconds:.1f} files/s)" if counts["done"] else ""
    print(f"{', '.join(parts)} in {seconds:.1f} s{speed}.")
    _print_ignored(found, verbose=verbose)


def _print_ignored(found: Found, *, verbose: bool) -> None:
    if verbose:
        for path in found.ignored:
            print(f"{path}: ignored because it is not an image or a video.")
    elif found.ignored:
        print(f"Ignored files of other kinds: {len(found.ignored)} (-v names them).")


def _print_failures(failures: Sequence[str], found: Found) -> ExitCode:
    """Print what failed, with the reasons, and return the exit code."""
    lines = [*map(str, found.errors), *failures]
    if not lines:
        return ExitCode.DONE
    print("\n  ".join([f"span-upscale: {len(lines)} failed:", *lines]), file=sys.stderr)
    return ExitCode.SOME_FAILED


def _video_settings(options: argparse.Namespace, target: Path) -> VideoSettings:
    return VideoSettings(options.codec or default_codec(target), options.video_quality, options.preset, options.pixel_format)


def _device(text: str) -> torch.device:
    try:
        device = torch.device(text)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        raise argparse.ArgumentTypeError(f"the device {text} is not available here ({first_line(error)})") from None
    return device


def _version() -> str:
    try:
        return version("span-upscale")
    except PackageNotFoundError:
        return "(not installed)"
