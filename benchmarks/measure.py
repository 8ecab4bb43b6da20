"""Measure contenders in turn, so that other load on the machine slows all of them. Only ratios within a round are meaningful."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import span_arch

from .contenders import CONTENDERS, OURS, OURS_AUTO, ROOT, STOCK, LeftOutError

OWN = (OURS, OURS_AUTO)

WORKER = Path(__file__).with_name("worker.py")

REST = 0.3
"""Seconds between two turns, so that the threads of the previous contender stop spinning."""

AT_A_TIME = 3
"""Other contenders that take turns with this library. Some keep 8 GB after an image of 1920x1080, so all at once do not fit."""

SAME = 0.01
"""The largest mean difference between two images in 0..1 that rounding and seams explain."""


@dataclass(frozen=True)
class Case:
    """Images of one size."""

    width: int
    height: int
    frames: int = 1
    tile: int = 0

    def __str__(self) -> str:
        return f"{self.frames} of " * (self.frames > 1) + f"{self.width}x{self.height}"


CASES = (Case(512, 512), Case(1024, 1024), Case(1920, 1080), Case(320, 240, frames=48))
QUICK_CASES = (Case(128, 96, frames=2),)

Growth = dict[str, list[tuple[int | str, Case]]]
"""By the name of what grows: each of its values with a case."""

GROWTH: Growth = {
    "rows of 256 pixels": [(rows, Case(256, rows)) for rows in (2000, 5000, 10000, 20000)],
    "side of a square": [(side, Case(side, side)) for side in range(256, 1537, 256)],
    "frames of 320x240": [(frames, Case(320, 240, frames)) for frames in (8, 16, 48)],
    "tile of 1024x1024": [(str(tile or "best"), Case(1024, 1024, tile=tile)) for tile in (0, 128, 256, 512, 1024)],
}
QUICK_GROWTH: Growth = {
    "rows of 64 pixels": [(rows, Case(64, rows)) for rows in (100, 400)],
}


def example_image(case: Case) -> np.ndarray:
    """Return (B, H, W, 3), float32 in 0..1: docs/example.png repeated as mirror images, in uneven light, shifted from frame to frame."""
    with Image.open(ROOT / "docs" / "example.png") as file:
        example = np.asarray(file.convert("RGB"), np.float32) / 255
    height, width = example.shape[:2]
    missing = ((0, max(0, case.height - height)), (0, max(0, case.width - width)), (0, 0))
    still = np.pad(example, missing, "symmetric")[: case.height, : case.width]
    dim = Image.fromarray(np.random.default_rng(0).random((9, 9), np.float32)).resize((case.width, case.height), Image.Resampling.BICUBIC)
    light = 0.75 + 0.25 * np.asarray(dim)[..., None]
    return np.stack([np.clip(np.roll(still, 5 * frame, axis=1) * light, 0, 1) for frame in range(case.frames)])


class Process:
    """A contender in a process of its own, which has upscaled an image once and waits."""

    def __init__(self, name: str, folder: Path, image: Path, tile: int = 0, python: str = sys.executable) -> None:
        command = [python, str(WORKER), name, str(folder), str(image), str(tile)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            self.first = self._answer()
        except BaseException:
            self.close()
            raise

    def again(self) -> dict[str, Any]:
        """Run one turn.

        Returns:
            ``seconds``, and ``memory``: the peak so far in bytes, without what the process had loaded before and without the result.

        Raises:
            LeftOutError: the contender failed, or its process ended.
        """
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # the process ended; reading the answer says so
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise LeftOutError(f"its process ended with code {self._process.wait()}, perhaps out of memory")
        answer = json.loads(line)
        if "left_out" in answer:
            raise LeftOutError(answer["left_out"])
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        with contextlib.suppress(OSError):
            self._process.communicate()


@dataclass
class Network:
    """A network in the files that the contenders read."""

    name: str
    folder: Path
    missing: dict[str, str]
    """The reasons why files are absent, by their names."""
    process: Callable[..., Process] = Process
    """Starts a contender."""

    @classmethod
    def write(cls, name: str, model: Any, folder: Path, contenders: Iterable[str]) -> Network:
        """Write the files that some contenders read."""
        folder.mkdir()
        missing: dict[str, str] = {}
        for file in sorted({CONTENDERS[contender].file for contender in contenders}):
            try:
                span_arch.save(model, folder / file, form="training" if file.startswith("training") else "fused")
            except span_arch.SpanArchError as error:
                missing[file] = str(error)
        return cls(name, folder, missing)

    def start(self, contender: str, case: Case, image: Path) -> Process:
        """Start a contender on an image, and run it once.

        Raises:
            LeftOutError: its file or its program is absent, or it failed.
        """
        file = CONTENDERS[contender].file
        if file in self.missing:
            raise LeftOutError(f"{file} could not be written: {self.missing[file]}")
        if contender != STOCK:
            return self.process(contender, self.folder, image, case.tile)
        if not os.environ.get("COMFYUI_DIR"):
            raise LeftOutError("COMFYUI_DIR does not name a ComfyUI folder")
        return self.process(contender, self.folder, image, python=os.environ.get("COMFYUI_PYTHON", sys.executable))


def speed(
    network: Network,
    case: Case,
    names: Sequence[str],
    rounds: int,
    left_out: list[dict[str, str]],
    *,
    at_a_time: int = AT_A_TIME,
    rest: float = REST,
) -> list[dict[str, Any]]:
    """Measure this library and a few others in turn, round after round, then this library and the next few.

    Args:
        network: the network to run.
        case: the image to upscale.
        names: the contenders.
        rounds: turns of each contender.
        left_out: receives an entry for each contender that does not take part.
        at_a_time: how many other contenders take turns with this library.
        rest: seconds between two turns.

    Returns:
        A row for each contender: its seconds in every round; as ``beside``, the seconds of this library in the same rounds; the seconds
        of its first pass; its memory and its versions.

    Raises:
        LeftOutError: this library itself failed.
    """
    own, others = [name for name in names if name in OWN], [name for name in names if name not in OWN]
    rows: dict[str, dict[str, Any]] = {}
    for start in range(0, len(others) or 1, at_a_time):
        for name, row in _turns(network, case, own + others[start : start + at_a_time], rounds, left_out, rest).items():
            if name not in rows:
                rows[name] = row
                continue
            rows[name]["seconds"] += row["seconds"]
            rows[name]["memory"] = max(rows[name]["memory"], row["memory"])
            for beside, seconds in row["beside"].items():
                rows[name]["beside"][beside] += seconds
    return list(rows.values())


def _turns(
    network: Network, case: Case, names: Sequence[str], rounds: int, left_out: list[dict[str, str]], rest: float
) -> dict[str, dict[str, Any]]:
    image = network.folder / "image.npy"
    np.save(image, example_image(case))
    processes: dict[str, Process] = {}
    rows: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:

        def attempt(name: str, turn: Callable[[], None]) -> None:
            try:
                turn()
            except LeftOutError as error:
                if name in OWN:
                    raise  # there is nothing to compare with
                processes.pop(name, None)
                rows.pop(name, None)
                left_out.append({"network": network.name, "image": str(case), "contender": name, "why": str(error)})

        def start(name: str) -> None:
            process = network.start(name, case, image)
            stack.callback(process.close)
            first = process.first
            row = {"network": network.name, "image": str(case), "contender": name, "first": first["seconds"], "seconds": []}
            if OURS in processes and first["sample"]:
                difference = float(np.abs(np.subtract(first["sample"], processes[OURS].first["sample"])).mean())
                if difference > SAME:
                    raise LeftOutError(f"its image differs from this library's by {difference:.3f} on average")
            processes[name], rows[name] = process, row | {"memory": first["memory"], "versions": first["versions"]}

        def again(name: str) -> None:
            answer = processes[name].again()
            rows[name]["seconds"].append(answer["seconds"])
            rows[name]["memory"] = answer["memory"]

        for name in names:
            attempt(name, partial(start, name))
        for _ in range(rounds):
            for name in list(processes):
                time.sleep(rest)
                attempt(name, partial(again, name))
    for row in rows.values():
        row["beside"] = {name: list(rows[name]["seconds"]) for name in OWN if name in rows}
    return rows


def growth(network: Network, series: Growth) -> Iterator[dict[str, Any]]:
    """Measure this library alone, in a new process for every point."""
    image = network.folder / "image.npy"
    for name in OWN:
        for by, points in series.items():
            for value, case in points:
                np.save(image, example_image(case))
                with closing(network.start(name, case, image)) as process:
                    yield {"contender": name, "by": by, "value": value, **process.again()}


def ratio(others: Sequence[float], ours: Sequence[float]) -> tuple[float, float, float]:
    """Return the median, minimum and maximum over the rounds of the others' seconds divided by ours in the same round."""
    shares = [other / own for other, own in zip(others, ours, strict=True)]
    return statistics.median(shares), min(shares), max(shares)
