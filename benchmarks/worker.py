"""Run one contender in a process of its own.

    python benchmarks/worker.py NAME FOLDER IMAGE TILE

loads the network in FOLDER, upscales the array in the file IMAGE once and prints a line of JSON, then again for every line on standard
input. TILE is the side of this library's tiles, 0 for the best.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from contenders import CONTENDERS, STOCK, Contender, LeftOutError  # found next to this script, which is not part of a package here


def versions(contender: Contender) -> dict[str, str]:
    """Return the versions of a contender's packages. ComfyUI's are labelled, since its Python has packages of its own."""
    found = {package: importlib.metadata.version(package) for package in contender.packages}
    if contender is not CONTENDERS[STOCK]:
        return found
    import comfyui_version

    return {"ComfyUI": f"{comfyui_version.__version__}, with " + " and ".join(f"{package} {version}" for package, version in found.items())}


def sample(result: Any) -> list[float] | None:
    """Return some pixels of the last frame, to compare the results of two contenders."""
    if result is None:
        return None
    image = np.asarray(result)[-1]
    rows, columns = (np.linspace(0, length - 1, 24).astype(int) for length in image.shape[:2])
    return np.clip(image[np.ix_(rows, columns)].astype(float), 0, 1).round(4).ravel().tolist()


def peak_memory() -> int:
    """Return the peak of this process's resident set in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would include the parent's memory at the start of this process
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1])  # type: ignore[index]
    import psutil

    memory = psutil.Process().memory_info()
    if hasattr(memory, "peak_wset"):  # Windows
        return memory.peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: in bytes


def claim_stdout() -> TextIO:
    """Return standard output for answers, and redirect what libraries print to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def reset_memory() -> int:
    """Return the resident set of this process in bytes, and reset its peak where the system can (Linux)."""
    import psutil

    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return psutil.Process().memory_info().rss


def main() -> None:
    answers = claim_stdout()
    name, folder, image, tile = sys.argv[1:]

    def reply(**answer: Any) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    try:
        contender = CONTENDERS[name]
        run = contender.start(Path(folder), np.load(image), int(tile))
        more: dict[str, Any] = {"versions": versions(contender)}
        base = reset_memory()
        while True:
            start = time.perf_counter()
            result = run()
            seconds = time.perf_counter() - start
            if more:  # the first pass
                more["sample"] = sample(result)
            size = 0 if result is None else np.asarray(result).nbytes
            del result
            reply(seconds=seconds, memory=max(0, peak_memory() - base - size), **more)
            more = {}
            if not sys.stdin.readline():
                return
    except ImportError as error:
        reply(left_out=f"a package is missing ({error})")
    except LeftOutError as error:
        reply(left_out=str(error))
    except Exception as error:
        reply(left_out=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
