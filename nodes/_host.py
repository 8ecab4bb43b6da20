"""All that is asked of the host, ComfyUI 0.3.64 or later: model folders, devices, memory, progress, cancelling and texts on nodes.

Little is asked, so that other hosts of its nodes will do as well; what newer versions have is used only where it is there.
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
    """Marks an input as one for experts, which newer frontends fold away. As an argument the host takes that from 0.10 on only."""
    widget.extra_dict = {**(widget.extra_dict or {}), "advanced": True}
    return widget


def found_by(schema: io.Schema, *names: str) -> io.Schema:
    """Lets a node be found by other names as well. As an argument the host takes them from 0.11 on only; before, they do nothing."""
    known: Any = schema
    known.search_aliases = list(names)
    return schema


def model_files() -> list[str]:
    """The files in the host's model folders that may hold a network, by the names that the host gives them.

    Of an ncnn pair the .param is listed. The host knows only its .bin, so that is where it is looked for. Of .onnx files it knows
    nothing, so they are looked for beside.
    """
    folders = map(Path, folder_paths.get_folder_paths(_FOLDER))
    names = [str(file.relative_to(folder)) for folder in folders for file in folder.rglob("*.onnx")]
    for name in folder_paths.get_filename_list(_FOLDER):
        path = Path(name)
        if path.suffix.lower() == ".bin":
            path = path.with_suffix(".param")
            if folder_paths.get_full_path(_FOLDER, str(path)) is None:
                continue  # weights of some other program
        if path.suffix.lower() in checkpoints.SUFFIXES:
            names.append(str(path))
    return sorted(set(names), key=str.lower)


def model_path(name: str) -> Path | None:
    """Where the file of that name is; None if there is none."""
    path = folder_paths.get_full_path(_FOLDER, name)
    return None if path is None else Path(path)


def adopt(model: Model) -> Model:
    """Makes a model known to the host's memory management, where that wants to know of upscale models (0.29 and later)."""
    patcher: Any = getattr(comfy.model_patcher, "CoreModelPatcher", None)  # replaced at start-up: to be looked up each time
    if patcher is not None:
        known: Any = model
        known.patcher = patcher(model.model, load_device=management.get_torch_device(), offload_device=management.unet_offload_device())
    return model


def device_of(model: Model) -> torch.device:
    """Where the host wants the model to work."""
    patcher: Any = getattr(model, "patcher", None)
    return management.get_torch_device() if patcher is None else patcher.load_device


def room_for(model: Model) -> Callable[[int], int]:
    """Asks the host to make room for so many bytes beside the model, and tells how many are free then."""

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

    It raises the host's own exception if the user has asked to stop.
    """
    bar: Any = comfy.utils.ProgressBar(_STEPS)

    def move(done: float, preview: Image.Image | None) -> None:
        management.throw_exception_if_processing_interrupted()
        bar.update_absolute(round(done * _STEPS), _STEPS, preview and ("JPEG", preview, max(preview.size)))

    return move


def shown(text: str, node: type[io.ComfyNode]) -> dict[str, Any]:
    """Shows a text on the node that is being run, which asks for the hidden input ``unique_id``, and returns what its ``ui`` is to be.

    Of that alone the frontend shows nothing; it is for those who read the history of runs.
    """
    hidden: Any = getattr(node, "hidden", None)
    if hidden is not None and hidden.unique_id is not None:
        PromptServer.instance.send_progress_text(text, hidden.unique_id)
    return {"text": (text,)}


def new_file(prefix: str, suffix: str, *, temporary: bool = False) -> Path:
    """A file in the host's output folder, or in its temporary one, that does not exist yet, numbered as the host numbers what it saves."""
    base = folder_paths.get_temp_directory() if temporary else folder_paths.get_output_directory()
    folder, name, counter, _, _ = folder_paths.get_save_image_path(prefix, base)
    return Path(folder) / f"{name}_{counter:05}_{suffix}"


@contextlib.contextmanager
def video_file(video: Any) -> Generator[tuple[Source, float, float, bool]]:
    """A video of the host as a file to read from; where what is wanted of it begins, and how many seconds it lasts (0: to the end).

    One that is made of images is written to a temporary file, without a loss; the last value says whether that was done.
    """
    if isinstance(video, VideoFromFile):
        window: Any = getattr(video, "get_active_trim_window", lambda: (0.0, 0.0))  # which came with 0.4
        yield video.get_stream_source(), *window(), False
        return
    parts = video.get_components()
    file = new_file("SPAN_source", ".nut", temporary=True)
    sound, rate = (parts.audio["waveform"][0], int(parts.audio["sample_rate"])) if parts.audio else (None, 0)
    try:
        compose(file, parts.images, Fraction(parts.frame_rate).limit_denominator(100_000), sound, rate)
        yield file, 0.0, 0.0, True
    finally:
        file.unlink(missing_ok=True)


def video(path: Path) -> Any:
    """A file as a video of the host."""
    return VideoFromFile(str(path))


def played(path: Path) -> dict[str, Any]:
    """What the ``ui`` of a node is to be that plays a temporary file."""
    folder = path.parent.relative_to(folder_paths.get_temp_directory())
    return {"images": ({"filename": path.name, "subfolder": "" if folder == Path() else str(folder), "type": "temp"},), "animated": (True,)}


def empty_image(shape: Sequence[int]) -> Tensor:
    """A tensor for a result, where and as the host keeps images."""
    # The host's type for images came with 0.18; before, it was always float32.
    dtype: Any = getattr(management, "intermediate_dtype", lambda: torch.float32)()
    return torch.empty(tuple(shape), dtype=dtype, device=management.intermediate_device())
