"""One way to upscale a film, in a process of its own.

    python benchmarks/film_worker.py WAY FOLDER FILM

upscales FILM with the network in FOLDER once, and tells in a line of JSON how long that took and how much memory, once all was loaded.
Nothing but the standard library is imported at the top: the Python of ComfyUI need not know this library.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from contenders import ROOT, stock_model  # neighbours of this script, not of a package
from worker import answering, highest_memory, memory_so_far

Run = Callable[[], object]


def ours(folder: Path, film: Path, preset: str | None) -> Run:
    """This library, from file to file, as its node does it."""
    sys.path[0] = str(ROOT)
    import span_arch
    from span_arch.video import VideoSettings, upscale_video

    model = span_arch.load(folder / "fused.safetensors")
    return lambda: upscale_video(model, film, folder / "ours.mp4", video=VideoSettings(preset=preset), overwrite=True)


def batch(folder: Path, film: Path) -> Run:
    """This library, with all frames as one tensor: nothing is read, and nothing written."""
    sys.path[0] = str(ROOT)
    import av
    import torch

    import span_arch

    model = span_arch.load(folder / "fused.safetensors")
    with av.open(str(film)) as container:
        frames = torch.stack([torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)])
    images = frames.float().div(255)
    del frames
    return lambda: span_arch.upscale(model, images)


def stock(folder: Path, film: Path) -> Run:
    """ComfyUI's own nodes: Load Video, Get Video Components, Upscale Image (using Model), Create Video and Save Video."""
    model = stock_model(folder)
    import torch
    from comfy_api.latest import InputImpl, Types
    from comfy_extras.nodes_upscale_model import ImageUpscaleWithModel

    @torch.inference_mode()
    def run() -> None:
        parts = InputImpl.VideoFromFile(str(film)).get_components()
        (images,) = ImageUpscaleWithModel.execute(model, parts.images).result
        made = InputImpl.VideoFromComponents(Types.VideoComponents(images=images, audio=parts.audio, frame_rate=parts.frame_rate))
        made.save_to(str(folder / "stock.mp4"))

    return run


WAYS: dict[str, Callable[[Path, Path], Run]] = {
    "ours": lambda folder, film: ours(folder, film, None),
    "ours, fast preset": lambda folder, film: ours(folder, film, "ultrafast"),
    "batch": batch,
    "stock": stock,
}


def main() -> None:
    answers = answering()
    way, folder, film = sys.argv[1:]
    run = WAYS[way](Path(folder), Path(film))
    base = memory_so_far()
    start = time.perf_counter()
    run()
    print(json.dumps({"seconds": time.perf_counter() - start, "memory": max(0, highest_memory() - base)}), file=answers, flush=True)


if __name__ == "__main__":
    main()
