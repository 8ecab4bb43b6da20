"""Tables and plots, made from results.json alone."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .contenders import LIMIT, OURS, OURS_AUTO, STOCK
from .measure import ratio

Row = dict[str, Any]

FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
"""Instruction sets of CPUs that the speed depends on."""

MIB = 1 << 20


def machine() -> dict[str, str]:
    """Describe the machine that the figures are measured on."""
    import psutil

    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = re.search(r"model name\s*: (.*)", cpuinfo)
    flags = re.search(r"(?:flags|Features)\s*: (.*)", cpuinfo)
    known = [flag for flag in FLAGS if flags and flag in flags[1].split()]
    return {
        "CPU": name[1] if name else platform.processor() or platform.machine(),
        "cores": f"{psutil.cpu_count(logical=False)} ({os.cpu_count()} threads)",
        "instructions": ", ".join(known) or "unknown",
        "memory": f"{psutil.virtual_memory().total / (1 << 30):.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, {platform.libc_ver()[0] or 'unknown libc'} {platform.libc_ver()[1]}".strip(),
        "Python": platform.python_version(),
    }


def write(results: dict[str, Any], folder: Path) -> None:
    """Write README.md and its plots."""
    (folder / "README.md").write_text(page(results), "utf-8")
    plot_speed(results["speed"], folder / "speed.png")
    plot_growth(results["growth"], folder / "growth.png")


def page(results: dict[str, Any]) -> str:
    """Return the text of README.md."""
    parts = [
        "# Benchmarks",
        f"Measured by `{results['command']}` on {results['date']}. Every program runs the same network on the same images, in a process of "
        f"its own. After a first pass they take turns for {results['rounds']} rounds, ours and three others at a time. A ratio divides two "
        "times of the same round; the tables give its median over the rounds, then its minimum and maximum.",
        table(("", ""), results["machine"].items()),
        "## In short",
        short(results["speed"]),
        "*Ours* is `span_arch.upscale`, in float32 or in the precision that `auto` chooses here. *Convolutions alone* runs only the "
        "convolutions of the same network, in PyTorch's fastest layout: a lower bound. Memory is the peak of the resident set, without "
        "what was loaded before the first pass and without the result.",
        "![Times of all programs, as multiples of ours](speed.png)",
        "## All figures",
        "Seconds are medians. *First* is the time of the first pass divided by that median.",
        details(results["speed"]),
        "## Growth",
        "spanx4_ch48, in a new process for every point; memory as above.",
        "![How time and memory grow](growth.png)",
        table(
            ("", "grows", "to", "seconds", "MiB"),
            ((r["contender"], r["by"], r["value"], f"{r['seconds']:.2f}", mib(r["memory"])) for r in results["growth"]),
        ),
        "## Left out",
        absent(results["left_out"]),
    ]
    return "\n\n".join(parts) + "\n"


def absent(left_out: Sequence[Row]) -> str:
    """List the contenders that did not take part, with the reasons."""
    places: dict[tuple[str, str], list[str]] = {}
    for row in left_out:
        places.setdefault((row["contender"], row["why"]), []).append(f"{row['network']} {row['image']}".strip())
    return table(("", "why", "where"), ((*key, ", ".join(where)) for key, where in places.items())) if places else "Nothing."


def short(speed: Sequence[Row]) -> str:
    """Return the table of the most important ratios."""
    columns = {
        "stock node / ours float32": (STOCK, OURS),
        "stock node / ours auto": (STOCK, OURS_AUTO),
        "OpenVINO / ours, float32": ("OpenVINO float32", OURS),
        "OpenVINO bfloat16 / ours auto": ("OpenVINO bfloat16", OURS_AUTO),
    }
    rows = []
    for (network, image), found in grouped(speed).items():
        ratios = [versus(found.get(other), own) for other, own in columns.values()]
        rows.append((network, image, *ratios, versus(found.get(LIMIT), OURS, upside_down=True), memory_share(found)))
    return table(("network", "image", *columns, "ours float32 / convolutions alone", "memory, ours float32 / stock node"), rows)


def details(speed: Sequence[Row]) -> str:
    """Return the table of every contender at every size."""
    rows = []
    for (network, image), found in grouped(speed).items():
        for name, row in found.items():
            median = statistics.median(row["seconds"])
            ratios = versus(row, OURS), versus(row, OURS_AUTO)
            rows.append((network, image, name, f"{median:.2f}", *ratios, f"{row['first'] / median:.2f}x", mib(row["memory"])))
    return table(("network", "image", "", "seconds", "/ ours float32", "/ ours auto", "first", "MiB"), rows)


def grouped(speed: Iterable[Row]) -> dict[tuple[str, str], dict[str, Row]]:
    """Group rows by network and image, then by contender."""
    groups: dict[tuple[str, str], dict[str, Row]] = {}
    for row in speed:
        groups.setdefault((row["network"], row["image"]), {})[row["contender"]] = row
    return groups


def versus(row: Row | None, own: str, *, upside_down: bool = False) -> str:
    """Return a contender's time divided by ours, or the inverse; empty if either was left out."""
    if row is None or own not in row["beside"]:
        return ""
    times = row["seconds"], row["beside"][own]
    median, least, most = ratio(*(reversed(times) if upside_down else times))
    return f"{median:.2f}x ({least:.2f} to {most:.2f})"


def memory_share(found: dict[str, Row]) -> str:
    if OURS not in found or STOCK not in found:
        return ""
    ours, stock = found[OURS]["memory"], found[STOCK]["memory"]
    return f"{ours / max(stock, 1):.2f}x ({mib(ours)} and {mib(stock)} MiB)"


def mib(size: int) -> str:
    return f"{size / MIB:.0f}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(" ".join(str(cell).replace("|", "\\|").split()) for cell in line) + " |" for line in lines)


def plot_speed(speed: Sequence[Row], path: Path) -> None:
    """Draw each contender's time as a multiple of ours in float32, with minimum and maximum, in a panel for each network."""
    from matplotlib.figure import Figure

    networks = list(dict.fromkeys(row["network"] for row in speed))
    names = list(dict.fromkeys(row["contender"] for row in speed))
    groups = grouped(speed)
    figure = Figure(figsize=(5 * len(networks) + 1.5, 6), layout="constrained")
    for axes, network in zip(figure.subplots(1, len(networks), squeeze=False, sharey=True)[0], networks, strict=True):
        images = [image for its, image in groups if its == network]
        for place, image in enumerate(images):
            found = groups[network, image]
            here = [(names.index(name), *ratio(row["seconds"], row["beside"][OURS])) for name, row in found.items()]
            where, medians, least, most = map(list, zip(*here, strict=True))
            spread = [[m - a for m, a in zip(medians, least, strict=True)], [b - m for m, b in zip(medians, most, strict=True)]]
            height = 0.8 / len(images)
            axes.barh([w + place * height - 0.4 for w in where], medians, height, align="edge", xerr=spread, ecolor="grey", label=image)
        axes.axvline(1, color="black", linewidth=1)
        axes.set(title=network, xlabel="time, as a multiple of ours in float32", yticks=range(len(names)), yticklabels=names)
        axes.invert_yaxis()
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=110)


def plot_growth(growth: Sequence[Row], path: Path) -> None:
    """Draw time above and memory below, in a column for each thing that grows."""
    from matplotlib.figure import Figure

    series = list(dict.fromkeys(row["by"] for row in growth))
    figure = Figure(figsize=(4 * len(series), 6), layout="constrained")
    panels = figure.subplots(2, len(series), squeeze=False)
    for column, by in enumerate(series):
        values: list[int | str] = []
        for name in dict.fromkeys(row["contender"] for row in growth):
            rows = [row for row in growth if (row["by"], row["contender"]) == (by, name)]
            values = [row["value"] for row in rows]
            panels[0][column].plot(values, [row["seconds"] for row in rows], "o-", label=name)
            panels[1][column].plot(values, [row["memory"] / MIB for row in rows], "o-", label=name)
        panels[1][column].set_xlabel(by)
        for panel in panels[:, column]:
            panel.set_ylim(bottom=0)
            if not isinstance(values[0], str):
                panel.locator_params(axis="x", nbins=5)
    panels[0][0].set_ylabel("seconds")
    panels[1][0].set_ylabel("MiB beyond the result")
    panels[0][0].legend()
    figure.savefig(path, dpi=110)


def save(results: dict[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")


def load(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text("utf-8"))
