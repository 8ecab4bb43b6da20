"""Upscale a video by one route, in a process of its own.

    python benchmarks/video_worker.py ROUTE FOLDER VIDEO

upscales VIDEO once with the network in FOLDER, and prints a line of JSON: the seconds, and the memory beyond what was loaded before.
Only the standard library is imported at the top, because ComfyUI's Python may lack this library.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from contenders import ROOT, stock_model  # found next to this script, which is not part of a package here
from worker import claim_stdout, peak_memory, reset_memory

Run = Callable[[], object]


def ours(folder: Path, video: Path, preset: str | None) -> Run:
    """This library from file to file, as its node calls it."""
    sys.path[0] = str(ROOT)
    import span_arch
    from span_arch.video import VideoSettings, upscale_video

    model = span_arch.load(folder / "fused.safetensors")
    return lambda: upscale_video(model, video, folder / "ours.mp4", None, VideoSettings(preset=preset), overwrite=True)


def batch(folder: Path, video: Path) -> Run:
    """This library on all frames as one tensor, without reading or writing."""
    sys.path[0] = str(ROOT)
    import av
    import torch

    import span_arch

    model = span_arch.load(folder / "fused.safetensors")
    with av.open(str(video)) as container:
        frames = torch.stack([torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)])
    images = frames.float().div(255)
    del frames
    return lambda: span_arch.upscale(model, images)


def stock(folder: Path, video: Path) -> Run:
    """ComfyUI's own nodes: Load Video, Get Video Components, Upscale Image (using Model), Create Video and Save Video."""
    model = stock_model(folder)
    import torch
    from comfy_api.latest import InputImpl, Types
    from comfy_extras.nodes_upscale_model import ImageUpscaleWithModel

    @torch.inference_mode()
    def run() -> None:
        parts = InputImpl.VideoFromFile(str(video)).get_components()
        (images,) = ImageUpscaleWithModel.execute(model, parts.images).result
        result = Types.VideoComponents(images=images, audio=parts.audio, frame_rate=parts.frame_rate)
        InputImpl.VideoFromComponents(result).save_to(str(folder / "stock.mp4"))

    return run


ROUTES: dict[str, Callable[[Path, Path], Run]] = {
    "ours": lambda folder, video: ours(folder, video, None),
    "ours, fast preset": lambda folder, video: ours(folder, video, "ultrafast"),
    "batch": batch,
    "stock": stock,
}


def main() -> None:
    answers = claim_stdout()
    route, folder, video = sys.argv[1:]
    run = ROUTES[route](Path(folder), Path(video))
    base = reset_memory()
    start = time.perf_counter()
    run()
    print(json.dumps({"seconds": time.perf_counter() - start, "memory": max(0, peak_memory() - base)}), file=answers, flush=True)


if __name__ == "__main__":
    main()
