"""The programs to compare, and how each loads a network and an image.

Only the standard library and NumPy are imported at the top. `worker.py` runs each contender in a process of its own, which must not load
the others, and ComfyUI's Python may lack this library.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]

Run = Callable[[], Any]
"""Upscales one fixed image. Returns an array-like (B, H, W, C), or None if there is no image to compare."""

_KEPT_BY_ALLOCATOR = 32 << 20
"""Bytes of the largest block that glibc keeps when it is freed. Larger ones are mapped again, which costs page faults."""


class LeftOutError(Exception):
    """A contender that cannot take part here. The message says why."""


def ours(folder: Path, image: np.ndarray, tile: int, precision: str) -> Run:
    """This library, as its node calls it."""
    sys.path[0] = str(ROOT)
    import torch

    import span_arch

    model = span_arch.load(folder / "fused.safetensors")
    batch = torch.from_numpy(image)
    return lambda: span_arch.upscale(model, batch, span_arch.Settings(tile=tile or None, precision=precision))


def spandrel(folder: Path, image: np.ndarray, tile: int) -> Run:
    """spandrel's module on the whole image. It fuses its branches again in every pass."""
    import torch
    from spandrel import ModelLoader

    model = ModelLoader().load_from_file(folder / "training.safetensors").eval()
    return torch.inference_mode()(frame_by_frame(image, torch.from_numpy, model))


def stock_model(folder: Path) -> Any:
    """Turn this process into a ComfyUI, and return the model that its Load Upscale Model loads."""
    sys.path[0] = os.environ["COMFYUI_DIR"]
    sys.argv = ["main.py", "--cpu"]
    import comfy.options

    comfy.options.enable_args_parsing()
    import folder_paths
    import torch
    from comfy_extras.nodes_upscale_model import UpscaleModelLoader

    folder_paths.add_model_folder_path("upscale_models", str(folder))
    with torch.inference_mode():
        return UpscaleModelLoader.execute("training.safetensors").result[0]


def comfyui(folder: Path, image: np.ndarray, tile: int) -> Run:
    """ComfyUI's own nodes, Load Upscale Model and Upscale Image (using Model), as its executor runs them."""
    model = stock_model(folder)
    import torch
    from comfy_extras.nodes_upscale_model import ImageUpscaleWithModel

    batch = torch.from_numpy(image)
    return torch.inference_mode()(lambda: ImageUpscaleWithModel.execute(model, batch).result[0])


def onnxruntime(folder: Path, image: np.ndarray, tile: int) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    return frame_by_frame(image, lambda frame: frame, lambda frame: session.run(None, {entry.name: frame})[0])


def openvino(folder: Path, image: np.ndarray, tile: int, precision: str) -> Run:
    """OpenVINO at its fastest: compiled for this size, without copies of image and result."""
    import openvino

    core = openvino.Core()
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise LeftOutError("this CPU has no instructions for bfloat16")
    model = core.read_model(folder / "model.onnx")
    _, height, width, channels = image.shape
    model.reshape([1, channels, height, width])
    request = core.compile_model(
        model, "CPU", {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    ).create_infer_request()
    return frame_by_frame(image, lambda frame: frame, lambda frame: request.infer([frame], share_inputs=True, share_outputs=True)[0])


def ncnn(folder: Path, image: np.ndarray, tile: int) -> Run:
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = ncnn.get_cpu_count()
    for option in ("use_vulkan_compute", "use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, option, False)
    if net.load_param(str(folder / "model.param")) or net.load_model(str(folder / "model.bin")):
        raise LeftOutError("it does not load the pair written for it")

    def run(frame: Any) -> np.ndarray:
        extractor = net.create_extractor()
        extractor.input("data", frame)
        return np.asarray(extractor.extract("output")[1])[None]

    return frame_by_frame(image, lambda frame: ncnn.Mat(frame[0]).clone(), run)


def convolutions(folder: Path, image: np.ndarray, tile: int) -> Run:
    """The convolutions of the fused network alone: a lower bound, as if all other work were free.

    Each convolution runs over as many pixels as in the network, in channels_last, in pieces that the allocator keeps. It reads the same
    piece every time and its results are not read, so it moves a little less memory than a network does.
    """
    sys.path[0] = str(ROOT)
    import torch
    from torch import nn

    import span_arch

    network = span_arch.load(folder / "fused.safetensors").model.to(memory_format=torch.channels_last)
    calls: list[tuple[nn.Module, torch.Size]] = []
    hooks = [
        module.register_forward_hook(lambda module, inputs, _: calls.append((module, inputs[0].shape)))
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    ]
    frames, height, width, channels = image.shape
    side = 48  # a small image is enough to see the size of every convolution's input
    with torch.inference_mode():
        network(torch.rand(1, channels, side, side))
    for hook in hooks:
        hook.remove()
    work: list[tuple[nn.Module, torch.Tensor]] = []
    pieces: dict[tuple[int, ...], torch.Tensor] = {}
    for module, shape in calls:
        rows, columns = height * shape[2] // side, width * shape[3] // side
        widest = max(shape[1], module.out_channels) * torch.float32.itemsize
        most = max(1, min(rows, (_KEPT_BY_ALLOCATOR - 1) // (widest * columns)))
        key = 1, shape[1], most, columns
        piece = pieces.setdefault(key, torch.randn(key).contiguous(memory_format=torch.channels_last))
        work += [(module, piece)] * (rows // most) + [(module, piece[:, :, : rows % most])] * (rows % most > 0)

    def run() -> None:
        for module, piece in work * frames:
            module(piece)

    return torch.inference_mode()(run)


def frame_by_frame(image: np.ndarray, prepare: Callable[[np.ndarray], Any], run: Callable[[Any], Any]) -> Run:
    """Run a program that takes (1, C, H, W) frame by frame. The layout is prepared beforehand, so it does not cost them time."""
    inputs = [prepare(np.ascontiguousarray(np.moveaxis(frame, -1, 0))[None]) for frame in image]

    def all_frames() -> np.ndarray:
        for frame in inputs[:-1]:
            run(frame)
        return np.moveaxis(np.asarray(run(inputs[-1])), 1, -1)

    return all_frames


@dataclass(frozen=True)
class Contender:
    """A program to compare."""

    start: Callable[[Path, np.ndarray, int], Run]
    """Loads the network in a folder for an image and a tile size (0: the best)."""
    file: str
    """The name of the network's file."""
    packages: tuple[str, ...] = ("torch",)
    """The packages whose versions are reported."""


OURS, OURS_AUTO, LIMIT, STOCK = "ours float32", "ours auto", "convolutions alone", "ComfyUI's stock node"

CONTENDERS = {
    OURS: Contender(partial(ours, precision="float32"), "fused.safetensors"),
    OURS_AUTO: Contender(partial(ours, precision="auto"), "fused.safetensors"),
    LIMIT: Contender(convolutions, "fused.safetensors"),
    STOCK: Contender(comfyui, "training.safetensors", ("torch", "spandrel")),
    "spandrel": Contender(spandrel, "training.safetensors", ("torch", "spandrel")),
    "onnxruntime": Contender(onnxruntime, "model.onnx", ("onnxruntime",)),
    "OpenVINO float32": Contender(partial(openvino, precision="f32"), "model.onnx", ("openvino",)),
    "OpenVINO bfloat16": Contender(partial(openvino, precision="bf16"), "model.onnx", ("openvino",)),
    "ncnn": Contender(ncnn, "model.param", ("ncnn",)),
}
