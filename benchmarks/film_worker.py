"""One way to upscale a film, in a process of its own.

    python benchmarks/film_worker.py WAY FOLDER FILM

upscales FILM with the network in FOLDER once, and tells in a line of JSON how long that took and how much memory, once all was loaded.
Nothing but the standard library is imported at the top: the Python of ComfyUI need not know this library.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from contenders import ROOT  # neighbours of this script, not of a package
from worker import highest_memory

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
    sys.path[0] = os.environ["COMFYUI_DIR"]
    sys.argv = ["main.py", "--cpu"]
    import comfy.options

    comfy.options.enable_args_parsing()
    import folder_paths
    import torch
    from comfy_api.latest import InputImpl, Types
    from comfy_extras.nodes_upscale_model import ImageUpscaleWithModel, UpscaleModelLoader

    folder_paths.add_model_folder_path("upscale_models", str(folder))

    @torch.inference_mode()
    def run() -> None:
        parts = InputImpl.VideoFromFile(str(film)).get_components()
        (images,) = ImageUpscaleWithModel.execute(model, parts.images).result
        made = InputImpl.VideoFromComponents(Types.VideoComponents(images=images, audio=parts.audio, frame_rate=parts.frame_rate))
        made.save_to(str(folder / "stock.mp4"))

    with torch.inference_mode():
        (model,) = UpscaleModelLoader.execute("training.safetensors").result
    return run


WAYS: dict[str, Callable[[Path, Path], Run]] = {
    "ours": lambda folder, film: ours(folder, film, None),
    "ours, fast preset": lambda folder, film: ours(folder, film, "ultrafast"),
    "batch": batch,
    "stock": stock,
}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    way, folder, film = sys.argv[1:]
    run = WAYS[way](Path(folder), Path(film))
    import psutil

    base = psutil.Process().memory_info().rss
    with contextlib.suppress(OSError):  # forgets what loading took, where the system can (Linux)
        Path("/proc/self/clear_refs").write_text("5")
    start = time.perf_counter()
    run()
    print(json.dumps({"seconds": time.perf_counter() - start, "memory": max(0, highest_memory() - base)}), file=answers, flush=True)


if __name__ == "__main__":
    main()
