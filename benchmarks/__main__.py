"""The command ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shlex
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import span_arch

from . import measure, report
from .contenders import CONTENDERS, ROOT, LeftOutError

WINNER = "NTIRE 2024 winner (f = 28)"
GROWING = "spanx4_ch48"


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    missing = [package for package in ("matplotlib", "psutil") if importlib.util.find_spec(package) is None]
    if missing:
        sys.exit(f"The benchmarks need {' and '.join(missing)}: pip install --editable '.[bench]'.")
    folder = options.out or ROOT / "benchmarks" / ("results-quick" if options.quick else "results")
    if not options.redraw:
        try:
            run(options, folder)
        except LeftOutError as error:
            sys.exit(f"This library could not be measured: {error}.")
    elif not (folder / "results.json").exists():
        sys.exit(f"{folder} has no results.json to redraw. Run the benchmarks without --redraw first.")
    report.write(report.load(folder), folder)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description="Compare this library with other programs on the same weights.")
    parser.add_argument("--quick", action="store_true", help="one network, small images and two rounds, to check that everything works")
    parser.add_argument("--rounds", type=int, help="rounds in which every contender runs once (default: 5; with --quick, 2)")
    parser.add_argument(
        "--contenders",
        nargs="+",
        choices=CONTENDERS,
        metavar="NAME",
        help=f"run these next to ours (default: all): {', '.join(CONTENDERS)}",
    )
    parser.add_argument("--winner", type=Path, help=f"checkpoint of the {WINNER} (default: the one in the test data)")
    parser.add_argument(
        "--out", type=Path, help="folder for the results (default: benchmarks/results; with --quick, benchmarks/results-quick)"
    )
    parser.add_argument("--redraw", action="store_true", help="measure nothing; make README.md and the plots from results.json")
    options = parser.parse_args(arguments)
    if options.rounds is None:
        options.rounds = 2 if options.quick else 5
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}; expected at least 1")
    return options


def run(options: argparse.Namespace, folder: Path) -> None:
    """Measure everything, and save results.json after every step."""
    cases = measure.QUICK_CASES if options.quick else measure.CASES
    series = measure.QUICK_GROWTH if options.quick else measure.GROWTH
    names = [name for name in CONTENDERS if name in (*measure.OWN, *(options.contenders or CONTENDERS))]
    chosen = ["--contenders", *options.contenders] if options.contenders else []
    results: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "benchmarks", *["--quick"] * options.quick, "--rounds", str(options.rounds), *chosen]),
        "date": date.today().isoformat(),
        "rounds": options.rounds,
        "machine": report.machine(),
        "left_out": [],
        "speed": [],
        "growth": [],
    }
    with TemporaryDirectory() as temporary:
        networks: list[measure.Network] = []
        for name, source in sources(options.winner).items():
            if options.quick and name != GROWING:
                continue
            if source is None:
                why = "its checkpoint is absent; name it with --winner, or the test data with SPAN_TEST_DATA"
                results["left_out"].append({"network": "", "image": "", "contender": name, "why": why})
                continue
            networks.append(measure.Network.write(name, span_arch.load(source), Path(temporary) / str(len(networks)), names))
        for network in networks:
            for case in cases:
                print(f"{network.name}, {case}", flush=True)
                for row in measure.speed(network, case, names, options.rounds, results["left_out"]):
                    results["machine"] |= row.pop("versions")
                    results["speed"].append(row)
                report.save(results, folder)
        print("growth", flush=True)
        for row in measure.growth(next(network for network in networks if network.name == GROWING), series):
            results["growth"].append(row)
            report.save(results, folder)


def sources(winner: Path | None) -> dict[str, str | Path | None]:
    """Return the name or path of each network to measure, by the name to report; None if its checkpoint is absent."""
    data = Path(os.environ.get("SPAN_TEST_DATA", ROOT.parent / "shared" / "data"))
    found = winner or data / "checkpoints" / "span_ntire2024_ch28.pth"
    return {"spanx2_ch48": "spanx2_ch48", GROWING: GROWING, WINNER: found if winner or found.exists() else None}


if __name__ == "__main__":
    main()
