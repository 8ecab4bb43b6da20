"""Measure videos, and folders of many images: ``python -m benchmarks.videos``."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

import span_arch

from . import report
from .contenders import ROOT
from .measure import Case, example_image, ratio

NETWORK = "spanx2_ch48"
RESULTS = ROOT / "benchmarks" / "results" / "videos.md"
WORKER = Path(__file__).with_name("video_worker.py")

Row = tuple[str, str, str]
"""The comparison, its figure, and the measurements behind it."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.videos", description="Measure videos, and folders of many images.")
    parser.add_argument("--rounds", type=int, default=3, help="rounds in which every route runs once (default: 3)")
    parser.add_argument(
        "--frames", type=int, default=200, help="frames of the video of 320x240; a longer one has ten times as many (default: 200)"
    )
    parser.add_argument(
        "--images", type=int, default=1000, help="images in the folder; 3 %% of them also get a command each (default: 1000)"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="file to write (default: benchmarks/results/videos.md)")
    options = parser.parse_args(arguments)
    command = shlex.join(["python", "-m", "benchmarks.videos", *(arguments if arguments is not None else sys.argv[1:])])
    rows: list[Row] = []
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = span_arch.load(NETWORK)
        span_arch.save(model, folder / "fused.safetensors")
        span_arch.save(model, folder / "training.safetensors", form="training")
        for measured in (videos, folders):
            for row in measured(folder, options):
                print(": ".join(row), flush=True)
                rows.append(row)
    options.out.write_text(page(command, rows), "utf-8")


def page(command: str, rows: Sequence[Row]) -> str:
    """Return the text of the results."""
    parts = [
        "# Videos and folders",
        f"Measured by `{command}` on {date.today().isoformat()}, with {NETWORK}. Every run is a process of its own, and the routes take "
        "turns. A ratio divides two times of the same round; the table gives its median over the rounds, then its minimum and maximum. "
        "Memory is the peak of the resident set, without what was loaded before the run.",
        report.table(("", ""), report.machine().items()),
        report.table(("", "", "from"), rows),
    ]
    return "\n\n".join(parts) + "\n"


def videos(folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """Compare a video with its frames as a batch, with ComfyUI's own nodes, and with a video ten times as long."""
    half, whole, long = (folder / name for name in ("half.mp4", "whole.mp4", "long.mp4"))
    for path, frames in ((half, options.frames // 2), (whole, options.frames), (long, 10 * options.frames)):
        write_video(path, frames)
    fast, batch = turns(options.rounds, lambda: run("ours, fast preset", folder, half), lambda: run("batch", folder, half))
    label = f"{options.frames // 2} frames of 320x240 x2: frames as one tensor / video to video (ultrafast)"
    yield label, ratio_text(seconds(batch), seconds(fast)), seconds_text(batch, fast)
    if os.environ.get("COMFYUI_DIR"):
        host = os.environ.get("COMFYUI_PYTHON", sys.executable)
        ours, stock = turns(options.rounds, lambda: run("ours", folder, whole), lambda: run("stock", folder, whole, host))
        label = f"{options.frames} frames of 320x240 x2: video to frames, stock upscale, frames to video in ComfyUI / video to video"
        yield label, ratio_text(seconds(stock), seconds(ours)), seconds_text(stock, ours)
        share = statistics.median(own["memory"] / other["memory"] for own, other in zip(ours, stock, strict=True))
        yield "the same, memory: ours / ComfyUI", f"{share:.2f}x", memory_text(ours, stock)
    else:
        print("COMFYUI_DIR does not name a ComfyUI folder, so ComfyUI is left out.")
    short, longer = [run("ours", folder, whole)], [run("ours", folder, long)]
    more = (longer[0]["memory"] - short[0]["memory"]) / report.MIB
    yield f"additional memory for {10 * options.frames} frames instead of {options.frames}", f"{more:.0f} MiB", memory_text(longer, short)


def folders(folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """Compare one command for a folder of small images with one command for each."""
    images, few = folder / "images", max(1, round(0.03 * options.images))
    images.mkdir()
    large = example_image(Case(512, 512))[0]
    for number in range(options.images):
        y, x = np.random.default_rng(number).integers(0, 512 - 64, 2)
        Image.fromarray((large[y : y + 64, x : x + 64] * 255).astype(np.uint8)).save(images / f"{number:05}.png")
    once = timed([str(images), str(folder / "once")])
    (folder / "each").mkdir()
    each = [timed([str(path), str(folder / "each" / path.name)]) for path in sorted(images.iterdir())[:few]]
    per_image = statistics.mean(each)
    yield (
        f"{options.images} images of 64x64: a command for each / one command for all",
        f"{per_image * options.images / once:.0f}x",
        f"{per_image:.2f} s for each (mean of {few}), {once:.1f} s for all",
    )


def write_video(path: Path, frames: int) -> None:
    """Write a moving image in H.264, with silent audio."""
    import av

    still = (example_image(Case(320, 240))[0] * 255).astype(np.uint8)
    with av.open(str(path), "w") as container:
        video, audio = container.add_stream("libx264", rate=25), container.add_stream("aac", rate=48000, layout="stereo")
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        for index in range(frames):
            silence = av.AudioFrame.from_ndarray(np.zeros((2, 1920), np.float32), format="fltp", layout="stereo")
            silence.sample_rate, silence.pts, silence.time_base = 48000, 1920 * index, Fraction(1, 48000)
            container.mux(audio.encode(silence))
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.roll(still, 3 * index, axis=1), format="rgb24")))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def run(route: str, folder: Path, video: Path, python: str = sys.executable) -> dict[str, float]:
    """Run a route once, and return its seconds and its memory in bytes."""
    command = [python, str(WORKER), route, str(folder), str(video)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout)


def timed(paths: Sequence[str]) -> float:
    """Return the seconds that the command line takes, start-up included."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "span_arch", *paths, "--model", NETWORK]
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def turns(rounds: int, *routes: Callable[[], dict[str, float]]) -> list[list[dict[str, float]]]:
    """Run some routes in turn, and return the runs of each."""
    return list(map(list, zip(*([route() for route in routes] for _ in range(rounds)), strict=True)))


def seconds(runs: Sequence[dict[str, float]]) -> list[float]:
    return [run["seconds"] for run in runs]


def ratio_text(others: Sequence[float], ours: Sequence[float]) -> str:
    median, least, most = ratio(others, ours)
    return f"{median:.2f}x ({least:.2f} to {most:.2f})"


def seconds_text(*routes: Sequence[dict[str, float]]) -> str:
    return " and ".join(f"{statistics.median(seconds(runs)):.1f} s" for runs in routes)


def memory_text(*routes: Sequence[dict[str, float]]) -> str:
    return " and ".join(f"{statistics.median(run['memory'] for run in runs) / report.MIB:.0f} MiB" for runs in routes)


if __name__ == "__main__":
    main()
