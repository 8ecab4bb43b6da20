"""Videos, and folders of many pictures: ``python -m benchmarks.films``."""

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
from .measure import Case, picture, ratio

NETWORK = "spanx2_ch48"
WORKER = Path(__file__).with_name("film_worker.py")

Row = tuple[str, str, str]
"""What is compared, the figure, and what it is made of."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.films", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each way has its turn (3)")
    parser.add_argument("--frames", type=int, default=200, help="of the video of 320x240; a longer one has ten times as many (200)")
    parser.add_argument("--pictures", type=int, default=1000, help="in the folder; so many are begun one by one, times 0.03 (1000)")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "films.md", help="file (benchmarks/results/films.md)")
    options = parser.parse_args(arguments)
    command = shlex.join(["python", "-m", "benchmarks.films", *(arguments if arguments is not None else sys.argv[1:])])
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
    """The text of the results."""
    parts = [
        "# Videos and folders",
        f"Made by `{command}`, {date.today().isoformat()}, with {NETWORK}. Each run is a process of its own; ways take turns. A ratio is "
        "the median over the rounds of one time over the other in the same round, with the least and the most behind it. Memory is the "
        "peak of the resident set beyond what was there before the run, once all was loaded.",
        report.table(("", ""), report.machine().items()),
        report.table(("", "", "made of"), rows),
    ]
    return "\n\n".join(parts) + "\n"


def videos(folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """A video beside its frames as a batch, beside the host's own nodes, and beside one ten times as long."""
    half, whole, long = (folder / name for name in ("half.mp4", "whole.mp4", "long.mp4"))
    for film, frames in ((half, options.frames // 2), (whole, options.frames), (long, 10 * options.frames)):
        write_film(film, frames)
    fast, batch = turns(options.rounds, lambda: run("ours, fast preset", folder, half), lambda: run("batch", folder, half))
    what = f"{options.frames // 2} frames of 320x240 x2: frames as one tensor / video to video (ultrafast)"
    yield what, told(seconds(batch), seconds(fast)), made_of(batch, fast)
    if os.environ.get("COMFYUI_DIR"):
        host = os.environ.get("COMFYUI_PYTHON", sys.executable)
        ours, stock = turns(options.rounds, lambda: run("ours", folder, whole), lambda: run("stock", folder, whole, host))
        what = f"{options.frames} frames of 320x240 x2: video to frames, stock upscale, frames to video in ComfyUI / video to video"
        yield what, told(seconds(stock), seconds(ours)), made_of(stock, ours)
        share = statistics.median(own["memory"] / other["memory"] for own, other in zip(ours, stock, strict=True))
        yield "the same, memory: ours / ComfyUI", f"{share:.2f}x", memory_of(ours, stock)
    else:
        print("COMFYUI_DIR names no tree of ComfyUI: it is left out.")
    short, longer = [run("ours", folder, whole)], [run("ours", folder, long)]
    more = (longer[0]["memory"] - short[0]["memory"]) / report.MIB
    yield f"memory for {10 * options.frames} frames, more than for {options.frames}", f"{more:.0f} MiB", memory_of(longer, short)


def folders(folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """A folder of small pictures at once, beside a start of the command for each."""
    pictures, few = folder / "pictures", max(1, round(0.03 * options.pictures))
    pictures.mkdir()
    large = picture(Case(512, 512))[0]
    for number in range(options.pictures):
        y, x = np.random.default_rng(number).integers(0, 512 - 64, 2)
        Image.fromarray((large[y : y + 64, x : x + 64] * 255).astype(np.uint8)).save(pictures / f"{number:05}.png")
    once = timed([str(pictures), str(folder / "once")])
    (folder / "each").mkdir()
    each = [timed([str(path), str(folder / "each" / path.name)]) for path in sorted(pictures.iterdir())[:few]]
    per_picture = statistics.mean(each)
    yield (
        f"{options.pictures} pictures of 64x64: a start for each / one for all",
        f"{per_picture * options.pictures / once:.0f}x",
        f"{per_picture:.2f} s for each (mean of {few} starts), {once:.1f} s for all",
    )


def write_film(path: Path, frames: int) -> None:
    """A picture that moves, in H.264, with sound."""
    import av

    still = (picture(Case(320, 240))[0] * 255).astype(np.uint8)
    with av.open(str(path), "w") as container:
        video, sound = container.add_stream("libx264", rate=25), container.add_stream("aac", rate=48000, layout="stereo")
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        for index in range(frames):
            tone = av.AudioFrame.from_ndarray(np.zeros((2, 1920), np.float32), format="fltp", layout="stereo")
            tone.sample_rate, tone.pts, tone.time_base = 48000, 1920 * index, Fraction(1, 48000)
            container.mux(sound.encode(tone))
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.roll(still, 3 * index, axis=1), format="rgb24")))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))


def run(way: str, folder: Path, film: Path, python: str = sys.executable) -> dict[str, float]:
    """One run: its seconds, and its memory in bytes."""
    command = [python, str(WORKER), way, str(folder), str(film)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout)


def timed(paths: Sequence[str]) -> float:
    """Seconds that the command line takes, from its start to its end."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "span_arch", *paths, "--model", NETWORK]
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def turns(rounds: int, *ways: Callable[[], dict[str, float]]) -> list[list[dict[str, float]]]:
    """What each of them gives in every round."""
    return list(map(list, zip(*([way() for way in ways] for _ in range(rounds)), strict=True)))


def seconds(runs: Sequence[dict[str, float]]) -> list[float]:
    return [run["seconds"] for run in runs]


def told(others: Sequence[float], ours: Sequence[float]) -> str:
    median, least, most = ratio(others, ours)
    return f"{median:.2f}x ({least:.2f} to {most:.2f})"


def made_of(*ways: Sequence[dict[str, float]]) -> str:
    return " and ".join(f"{statistics.median(seconds(runs)):.1f} s" for runs in ways)


def memory_of(*ways: Sequence[dict[str, float]]) -> str:
    return " and ".join(f"{statistics.median(run['memory'] for run in runs) / report.MIB:.0f} MiB" for runs in ways)


if __name__ == "__main__":
    main()
