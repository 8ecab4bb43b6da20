"""``span-upscale``: pictures and videos, one or many."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import torch

from .._util.memory import best_device
from ..batch import Found, Job, Outcome, default_codec, find, formats_of, upscale_jobs
from ..cluster import upscale_on_ray
from ..engine.context import Context
from ..engine.report import Report, Reporter
from ..errors import OptionError
from ..models.build import FamilyModel
from ..video import VideoSettings
from ..video.codecs import AUTO, CODECS
from .dry_run import tell_what_would_be_done
from .interrupts import patient
from .model_options import add_model, loaded
from .progress_bars import Bars
from .upscale_options import add_settings, settings
from .version import version

_DEFAULT_MODEL = "spanx4_ch52"
_SOME_FAILED = 1
_STOPPED = 130

_Work = tuple[Bars, Generator[Outcome]]
"""The bars, and what becomes of the files."""


def parser() -> argparse.ArgumentParser:
    """Of its command line."""
    parser = argparse.ArgumentParser(
        prog="span-upscale",
        description="Upscales pictures and videos with a network of the SPAN family.",
        epilog="Further commands: 'span-upscale info MODEL' tells what a model is; 'span-upscale convert IN OUT' writes it for another "
        "program; 'span-upscale evaluate DIR --model MODEL' measures PSNR and SSIM on a benchmark. Each has its own --help.",
    )
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="a picture, an animation, a video, a folder of them, or a pattern such as 'scans/*.png'",
    )
    parser.add_argument(
        "output",
        metavar="OUTPUT",
        help="for one file, where to write the result; the suffix chooses the format. Otherwise a folder, in which files keep their names",
    )
    add_model(parser, "--model", default=_DEFAULT_MODEL)
    parser.add_argument("--device", type=_device, metavar="NAME", help="where to compute, such as cuda:1 or cpu (default: a GPU, if any)")
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="compute on a cluster of Ray, such as head:6379, whose machines all see INPUT and OUTPUT; auto: on that "
        "of this machine, or if there is none, in several processes here",
    )
    add_settings(parser)
    _add_files(parser)
    _add_formats(parser)
    parser.add_argument("--dry-run", action="store_true", help="tell what would be done, and about how long it would take; write nothing")
    parser.add_argument("-v", "--verbose", action="store_true", help="name every file that is done, skipped or ignored")
    parser.add_argument("--version", action="version", version=f"span-upscale {version()}")
    parser.set_defaults(run=_run)
    return parser


def _add_files(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("files")
    group.add_argument("-r", "--recursive", action="store_true", help="folders within folders, too; OUTPUT has the same ones then")
    existing = group.add_mutually_exclusive_group()
    existing.add_argument("--overwrite", action="store_const", dest="existing", const="replace", help="replace files that are there")
    existing.add_argument("--skip-existing", action="store_const", dest="existing", const="skip", help="leave out what is there already")
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on with a run that was ended: leave out what is there, and write videos in segments, so that a later --resume can go on "
        "with them",
    )
    parser.set_defaults(existing="keep")


def _add_formats(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("formats")
    group.add_argument(
        "--format",
        action="append",
        default=[],
        metavar="NAME",
        help="in a folder: write pictures as png, jpg, webp, avif, gif or tiff, or videos as mp4, mov, mkv or webm; may be given for both "
        "(default: as the input; what cannot be written becomes png or mkv)",
    )
    group.add_argument("--quality", type=int, metavar="N", help="of JPEG, WebP and AVIF, 1 to 100 (default: 95, lossless, 90)")
    group.add_argument("--codec", choices=(AUTO, *CODECS), help="of videos (default: h264; in .webm av1)")
    group.add_argument("--video-quality", type=float, metavar="N", help="constant rate factor of videos: lower is better, and larger")
    group.add_argument("--preset", metavar="NAME", help="of videos: how long the encoder may think, in its words, as ultrafast for h264")
    group.add_argument(
        "--pixel-format", metavar="NAME", help="of videos, as FFmpeg has it: yuv420p plays everywhere (default: as the input)"
    )


def _run(options: argparse.Namespace) -> int:
    formats = formats_of(options.format)
    asked = settings(options)
    if options.quality is not None and not 1 <= options.quality <= 100:
        raise OptionError(f"The quality is {options.quality}; expected 1 to 100.")
    if options.ray is not None and options.device is not None:
        raise OptionError("--device is for this machine; on a cluster, each machine takes the best that it has. Leave one of them out.")
    found = find(options.inputs, options.output, recursive=options.recursive, formats=formats)
    if options.format and not found.folder:
        raise OptionError(f"--format is for folders; the suffix of '{options.output}' says what to write. Leave one of them out.")
    existing = "skip" if options.resume and options.existing == "keep" else options.existing
    jobs = [
        Job(source, target, asked, options.quality, _video(options, target), existing, options.resume, found.folder)
        for source, target in found.pairs
    ]
    model, device = loaded(options), options.device or best_device()
    if options.dry_run:
        return _foresee(model, jobs, found, device, verbose=options.verbose)
    reports: list[Report] = []
    work = _work(model, jobs, options.ray, device, reports.append)
    return _upscale_all(jobs, work, found, verbose=options.verbose) if found.folder else _upscale_one(jobs[0], work, reports)


@contextmanager
def _work(model: FamilyModel, jobs: Sequence[Job], ray: str | None, device: torch.device, report: Reporter) -> Generator[_Work]:
    if ray is not None:  # which can be interrupted at any moment, and has long ones
        with Bars(len(jobs), lambda: None) as bars, closing(upscale_on_ray(model, jobs, address=ray)) as stream:
            yield bars, stream
        return
    with (
        patient() as check,
        Bars(len(jobs), check) as bars,
        closing(upscale_jobs(model, jobs, Context(device, progress=bars, report=report))) as stream,
    ):
        yield bars, stream


def _upscale_one(job: Job, work: AbstractContextManager[_Work], reports: Sequence[Report]) -> int:
    with work as (_, stream):
        (outcome,) = stream
    if outcome.error is not None:
        raise outcome.error
    print(f"{job.target}: {' '.join([str(reports[0]), *outcome.notes])}" if reports else outcome)
    return 0


def _upscale_all(jobs: Sequence[Job], work: AbstractContextManager[_Work], found: Found, *, verbose: bool) -> int:
    outcomes: list[Outcome] = []
    begun, stopped = time.perf_counter(), False
    try:
        with work as (bars, stream):
            for outcome in stream:
                outcomes.append(outcome)
                bars.tick()
                if verbose and outcome.error is None:
                    bars.say(str(outcome))
    except KeyboardInterrupt:
        stopped = True
    _tell(outcomes, found, time.perf_counter() - begun, verbose=verbose)
    left = len(jobs) - len(outcomes)
    if stopped:
        print(f"span-upscale: stopped; what is done is kept, and {left} of {len(jobs)} files are left.", file=sys.stderr)
        return _STOPPED
    if left:
        print(f"span-upscale: there is no room left; {left} of {len(jobs)} files were not tried.", file=sys.stderr)
    return _told_failures([str(outcome) for outcome in outcomes if outcome.error is not None], found)


def _foresee(model: FamilyModel, jobs: Sequence[Job], found: Found, device: torch.device, *, verbose: bool) -> int:
    failing = tell_what_would_be_done(model, jobs, device)
    if failing and not found.folder:
        raise failing[0][1]
    _tell_ignored(found, verbose=verbose)
    return _told_failures([f"{job.source}: {error}" for job, error in failing], found)


def _tell(outcomes: Sequence[Outcome], found: Found, seconds: float, *, verbose: bool) -> None:
    counts = Counter(outcome.state for outcome in outcomes)
    parts = [f"{counts[state]} {state}" for state in ("done", "skipped", "failed") if counts[state] or state == "done"]
    speed = f" ({counts['done'] / seconds:.1f} files/s)" if counts["done"] else ""
    print(f"{', '.join(parts)} in {seconds:.1f} s{speed}.")
    _tell_ignored(found, verbose=verbose)


def _tell_ignored(found: Found, *, verbose: bool) -> None:
    if verbose:
        for path in found.ignored:
            print(f"{path}: ignored, it is neither a picture nor a video.")
    elif found.ignored:
        print(f"Ignored, being neither pictures nor videos: {len(found.ignored)} (-v names them).")


def _told_failures(lines: Sequence[str], found: Found) -> int:
    """Lists what failed, and returns the exit code."""
    every = [*map(str, found.errors), *lines]
    if not every:
        return 0
    print("\n  ".join([f"span-upscale: {len(every)} failed:", *every]), file=sys.stderr)
    return _SOME_FAILED


def _video(options: argparse.Namespace, target: Path) -> VideoSettings:
    return VideoSettings(options.codec or default_codec(target), options.video_quality, options.preset, options.pixel_format)


def _device(text: str) -> torch.device:
    try:
        device = torch.device(text)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        raise argparse.ArgumentTypeError(f"there is no device '{text}' here ({str(error).splitlines()[0]})") from None
    return device
