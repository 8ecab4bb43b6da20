"""Files, and the networks that come with the library, to models that are ready to run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from .. import checkpoints
from ..archs.normalisation import Normalise, wished
from ..archs.registry import require, resembles
from ..archs.reparam import branched_blocks
from ..checkpoints import Checkpoint
from ..errors import BrokenCheckpointError, CheckpointError, CheckpointNotFoundError, OptionError, UnknownArchitectureError, WeightsError
from .build import FamilyModel, Source, from_state_dict, type_of
from .weight_names import proposals

WEIGHTS = Path(__file__).parents[1] / "weights"


def builtin_names() -> tuple[str, ...]:
    """The names of the networks that come with the library, sorted."""
    return tuple(sorted(file.stem for file in WEIGHTS.glob("*.safetensors")))


def load(name_or_path: str | Path, *, normalise: Normalise = "auto") -> FamilyModel:
    """Loads a network of the SPAN family, fused, in float32, on the CPU and in evaluation mode.

    Args:
        name_or_path: a built-in network (see `builtin_names`) or a file: ``.safetensors``, ``.pth``, ``.pt``, ``.ckpt``, ``.onnx``, or
            either file of an ncnn pair. Fused files and training files alike; nothing that a file holds is ever run.
        normalise: what the network does to its image first. ``"auto"`` takes what the file states; where it states nothing, the
            network itself is asked with a small picture. Otherwise ``"paper"``, ``"imagenet"``, ``"none"``, or ``(mean, range)`` with
            a mean for R, G and B (issue hongyuanyu/SPAN#6 tells why that is needed).

    Raises:
        CheckpointError: in its subclasses, all that can be wrong with a file. `errors` has the tree.
        OptionError: ``normalise`` makes no sense, or not for this network.
        MissingExtraError: an ONNX file, without the package ``onnx``.
    """
    wish = wished(normalise)
    path = _resolve(name_or_path)
    checkpoint = checkpoints.read(path)
    try:
        return _from_checkpoint(checkpoint, str(name_or_path), wish)
    except CheckpointError as error:  # of a state dict or a graph, which know no file
        raise type(error)(f"'{name_or_path}': {error}") from error


def _from_checkpoint(checkpoint: Checkpoint, name: str, wish: Normalise) -> FamilyModel:
    # Made outside the inference mode in which ComfyUI runs its nodes, so that the weights can be used outside it as well.
    with torch.inference_mode(False), torch.no_grad():
        if checkpoint.graph is None or resembles(checkpoint.state):
            require(checkpoint.state)  # before anything large is read
            return _build(checkpoint, checkpoint.state, name, wish)
        faults: list[str] = []
        for state in proposals(checkpoint.graph):
            try:
                return _build(checkpoint, state, name, wish)
            except (WeightsError, BrokenCheckpointError, UnknownArchitectureError) as error:
                faults.append(str(error))
        raise UnknownArchitectureError(
            "The graph has lost the names of its weights. It has as many convolutions as a network of the SPAN family, but does not "
            f"compute what such a network does: {faults[0]}"
        )


def _build(checkpoint: Checkpoint, state: Mapping[str, Tensor], name: str, wish: Normalise) -> FamilyModel:
    path, graph = checkpoint.path, checkpoint.graph
    stated, where = (checkpoint.normalisation, "stated in the file") if graph is None else (graph.normalisation(), "stated in the graph")
    source = Source(
        name=name,
        container=checkpoint.container,
        form="training" if branched_blocks(state) else "fused",
        precision=checkpoint.precision or type_of(state.values()),
        sha256=_sha256(path.with_suffix(".bin") if checkpoint.container == "ncnn" else path),
        metadata=checkpoint.metadata,
    )
    if graph is None and wish != "auto":
        return from_state_dict(state, normalise=wish, source=source, known="as asked for")
    try:
        model = from_state_dict(state, normalise="auto" if stated == "unstated" else stated, source=source, known=where)
    except OptionError as error:  # which it would be, had somebody asked for it
        raise WeightsError(
            f"The normalisation {stated} is {where}, but this network takes the image as it is. The file is damaged, or was changed after "
            "it was exported: get it again from its source."
        ) from error
    if graph is not None:
        graph.check(model.model, model.input_channels)
    return model if wish == "auto" else from_state_dict(state, normalise=wish, source=source, known="as asked for")


def _resolve(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if str(name_or_path) in builtin_names():
        return WEIGHTS / f"{name_or_path}.safetensors"
    if not path.suffix and not path.exists():
        raise CheckpointNotFoundError(
            f"There is no built-in network '{name_or_path}', and no file of that name. Built in are {', '.join(builtin_names())}."
        )
    return path


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
