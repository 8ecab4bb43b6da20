"""Everything that the pack needs from ComfyUI, 0.3.64 or later: model folders, devices, memory, progress, cancelling and texts on nodes.

Other hosts of ComfyUI's nodes offer less, so this module uses little, and newer features only where the host has them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import comfy.model_management as management
import comfy.model_patcher
import comfy.utils
import folder_paths
import torch
from comfy_api.input_impl import VideoFromFile
from comfy_api.latest import io
from PIL import Image
from server import PromptServer
from torch import Tensor

from ..span_arch import checkpoints
from ..span_arch.models.build import Model
from ..span_arch.video import Source, compose

_FOLDER = "upscale_models"

_STEPS = 1000
"""Steps of the host's progress bar."""


def advanced(widget: Any) -> Any:
    """Mark an input as advanced, so that newer frontends fold it away. Hosts before 0.10 do not take this as an argument."""
    widget.extra_dict = {**(widget.extra_dict or {}), "advanced": True}
    return widget


def with_aliases(schema: io.Schema, *names: str) -> io.Schema:
    """Let the search find a node by other names. Hosts before 0.11 do not take these as an argument, and ignore them."""
    schema.search_aliases = list(names)
    return schema


def model_files() -> list[str]:
    """Return the files in the host's model folders that may hold a network, by the names that the host uses.

    The host lists neither .param nor .onnx files. The first are found next to the .bin files that it lists, the second by a search.
    """
    folders = map(Path, folder_paths.get_folder_paths(_FOLDER))
    names = [str(file.relative_to(folder)) for folder in folders for file in folder.rglob("*.onnx")]
    for name in folder_paths.get_filename_list(_FOLDER):
        path = Path(name)
        if path.suffix.lower() == ".bin":
            path = path.with_suffix(".param")
            if folder_paths.get_full_path(_FOLDER, str(path)) is None:
                continue  # weights of another program
        if path.suffix.lower() in checkpoints.SUFFIXES:
            names.append(str(path))
    return sorted(set(names), key=str.lower)


def model_path(name: str) -> Path | None:
    """Return the path of a model file, or None if there is no such file."""
    path = folder_paths.get_full_path(_FOLDER, name)
    return None if path is None else Path(path)


def manage(model: Model) -> Model:
    """Give a model the `patcher` by which hosts from 0.29 on manage the memory of upscale models.

    The host's own upscaling node reads this private attribute. If its name changes, that node fails on our models, and `room_for` frees
    memory without loading the model.
    """
    patcher = getattr(comfy.model_patcher, "CoreModelPatcher", None)  # looked up each time, since the host replaces it at start-up
    if patcher is not None:
        given: Any = model
        given.patcher = patcher(model.model, load_device=management.get_torch_device(), offload_device=management.unet_offload_device())
    return model


def device_of(model: Model) -> torch.device:
    """Return the device on which the host wants the model to run."""
    patcher = getattr(model, "patcher", None)
    return management.get_torch_device() if patcher is None else patcher.load_device


def room_for(model: Model) -> Callable[[int], int]:
    """Return a function that asks the host to free a number of bytes in addition to the model, and returns the bytes that are then free."""

    def room(wanted: int) -> int:
        patcher, device = getattr(model, "patcher", None), device_of(model)
        if patcher is not None:
            management.load_models_gpu([patcher], memory_required=wanted, force_full_load=True)
        else:
            management.free_memory(wanted, device)
        return int(management.get_free_memory(device))

    return room


def progress() -> Callable[[float, Image.Image | None], None]:
    """Return a function that moves the host's progress bar to a share of 1 and shows a preview.

    The function raises the host's own exception if the user has cancelled the run.
    """
    bar = comfy.utils.ProgressBar(_STEPS)

    def move(done: float, preview: Image.Image | None) -> None:
        management.throw_exception_if_processing_interrupted()
        bar.update_absolute(round(done * _STEPS), _STEPS, preview and ("JPEG", preview, max(preview.size)))

    return move


def show_text(text: str, node: type[io.ComfyNode]) -> dict[str, Any]:
    """Show a text on the running node, which needs the hidden input ``unique_id``. Return the text for the node's ``ui``.

    The frontend does not show the ``ui`` of a node by itself; it is part of the history of runs. An empty text removes the last one.
    """
    hidden = getattr(node, "hidden", None)
    if text and hidden is not None and hidden.unique_id is not None:
        PromptServer.instance.send_progress_text(text, hidden.unique_id)
    return {"text": (text,)}


def new_file(prefix: str, suffix: str, *, temporary: bool = False) -> Path:
    """Return an unused path in the host's output or temporary folder, numbered like the other files that the host saves."""
    base = folder_paths.get_temp_directory() if temporary else folder_paths.get_output_directory()
    folder, name, counter, _, _ = folder_paths.get_save_image_path(prefix, base)
    return Path(folder) / f"{name}_{counter:05}_{suffix}"


@contextlib.contextmanager
def video_file(video: Any) -> Generator[tuple[Source, float, float, bool]]:
    """Return a video of the host as a file: source, start and duration in seconds (0: to the end), and True if it is made of images.

    A video that is made of images is written to a temporary lossless file.
    """
    if isinstance(video, VideoFromFile):
        start, duration = getattr(video, "get_active_trim_window", lambda: (0.0, 0.0))()  # older hosts cannot trim
        yield video.get_stream_source(), start, duration, False
        return
    parts = video.get_components()
    file = new_file("SPAN_source", ".nut", temporary=True)
    audio, rate = (parts.audio["waveform"][0], int(parts.audio["sample_rate"])) if parts.audio else (None, 0)
    try:
        compose(file, parts.images, Fraction(parts.frame_rate).limit_denominator(100_000), audio, rate)
        yield file, 0.0, 0.0, True
    finally:
        file.unlink(missing_ok=True)


def video_from(path: Path) -> Any:
    """Return a file as a video of the host."""
    return VideoFromFile(str(path))


def video_preview(path: Path) -> dict[str, Any]:
    """Return the ``ui`` of a node that plays a temporary file."""
    folder = path.parent.relative_to(folder_paths.get_temp_directory())
    return {"images": ({"filename": path.name, "subfolder": "" if folder == Path() else str(folder), "type": "temp"},), "animated": (True,)}


def empty_image(shape: Sequence[int]) -> Tensor:
    """Return an uninitialised tensor with the type and the device of the host's images. Hosts before 0.18 use float32."""
    dtype = getattr(management, "intermediate_dtype", lambda: torch.float32)()
    return torch.empty(tuple(shape), dtype=dtype, device=management.intermediate_device())
