"""Load files, and the built-in networks, as models that are ready to run."""

from __future__ import annotations

from pathlib import Path

import torch

from .. import checkpoints, errors
from .._util.text import with_context
from ..archs.bounds import set_limits
from ..archs.normalisation import Normalisation, Normalise, parse_normalisation
from ..archs.registry import has_family_keys, require_architecture
from ..archs.reparam import branched_blocks
from ..checkpoints import Checkpoint
from .build import FamilyModel, Model, Source, from_state_dict, precision_of
from .catalogue import file_sha256
from .model_files import find_model
from .other_families import load_other, set_source
from .weight_names import candidate_states
from .wrapped_networks import FoundNetwork, closest_state, find_network


def load(name_or_path: str | Path, *, normalise: Normalise = "auto", bounded: bool = True) -> Model:
    """Load an image model: in float32, on the CPU and in evaluation mode. No code in a file is ever run.

    Networks of the SPAN family are fused, and their type is `FamilyModel`. Every other model that spandrel knows, such as ESRGAN, loads
    from ``.safetensors``, ``.pth``, ``.pt`` and ``.ckpt`` if it takes nothing but an image.

    Args:
        name_or_path: a built-in network (see `builtin_names`), a known model in the folders of ``SPAN_MODELS``, or a file in either
            form: ``.safetensors``, ``.pth``, ``.pt``, ``.ckpt``, ``.onnx``, or either file of an ncnn pair. If a file holds several
            networks, `find_network` chooses one.
        normalise: the normalisation that the network applies to its image. ``"auto"`` reads it from the file or, if the file does
            not state it, measures it on small test images. Otherwise ``"paper"``, ``"imagenet"``, ``"none"``, or ``(mean, range)``
            with a mean for R, G and B (hongyuanyu/SPAN#6 explains why networks differ).
        bounded: bound the activations of networks of the SPAN family, so that no image makes them explode. The limits are in the file, or
            else they are measured on calibration images. False gives the network as it was trained, for comparisons.

    Raises:
        CheckpointError: the file cannot be loaded. Subclasses say why (see `errors`).
        OptionError: ``normalise`` is invalid, or the network does not normalise.
        MissingExtraError: the file is in ONNX format, but the package ``onnx`` is not installed.
    """
    normalise, name = parse_normalisation(normalise), str(name_or_path)
    checkpoint = checkpoints.read(find_model(name_or_path))
    try:
        return _from_checkpoint(checkpoint, name, normalise, bounded)
    except errors.CheckpointError as error:
        if name in str(error):
            raise
        raise with_context(error, f"File: {name}") from error


def _from_checkpoint(checkpoint: Checkpoint, name: str, normalise: Normalisation | str | None, bounded: bool) -> Model:
    # ComfyUI runs its nodes in inference mode. Weights made in that mode could not be used outside it.
    with torch.inference_mode(False), torch.no_grad():
        if (network := find_network(checkpoint.groups, name)) is not None:
            return _build(checkpoint, network, name, normalise, bounded)
        if checkpoint.graph is None and (other := load_other(checkpoint.state, name, normalise)) is not None:
            set_source(other, _source(checkpoint, FoundNetwork("", checkpoint.state), name, form=""))
            return other
        if checkpoint.graph is None or has_family_keys(checkpoint.state):
            state = closest_state(checkpoint.groups) or checkpoint.state
            require_architecture(state, name)
            return _build(checkpoint, FoundNetwork("", state), name, normalise, bounded)
        faults: list[str] = []
        for state in candidate_states(checkpoint.graph):
            try:
                return _build(checkpoint, FoundNetwork("", state), name, normalise, bounded)
            except (errors.WeightsError, errors.BrokenCheckpointError, errors.UnknownArchitectureError) as error:
                faults.append(str(error))
        raise errors.UnknownArchitectureError(
            f"{name} is not a SPAN-family checkpoint. Its graph lacks the names of weights. It has as many convolutions as a SPAN-family "
            f"network, but does not match it: {faults[0]}"
        )


def _build(checkpoint: Checkpoint, network: FoundNetwork, name: str, normalise: Normalise, bounded: bool) -> FamilyModel:
    graph, state = checkpoint.graph, network.state
    stated, where = (checkpoint.normalisation, "stated in the file") if graph is None else (graph.normalisation(), "stated in the graph")
    source = _source(checkpoint, network, name, form="training" if branched_blocks(state) else "fused")
    limits, model = checkpoint.limits, None
    if graph is not None or normalise == "auto":
        try:
            found = "auto" if stated == "unstated" else stated
            model = from_state_dict(state, normalise=found, source=source, normalisation_known=where, bounded=False)
        except errors.OptionError as error:  # the file's fault, not the caller's
            raise errors.WeightsError(
                f"{name} has the normalisation {stated}, {where}, but its network takes images as they are. The file was changed or "
                "damaged: download it again."
            ) from error
        if graph is not None:
            set_limits(model.model, limits := limits or graph.limits(model.model))
            graph.check(model.model, model.input_channels)
    if model is None or normalise != "auto":
        model = from_state_dict(state, normalise=normalise, source=source, bounded=False)
    if bounded:
        model.bound(limits)
    else:
        set_limits(model.model, None)
    return model


def _source(checkpoint: Checkpoint, network: FoundNetwork, name: str, form: str) -> Source:
    path = checkpoint.path
    return Source(
        name=name,
        container=checkpoint.container,
        form=form,
        precision=checkpoint.precision or precision_of(network.state.values()),
        sha256=file_sha256(path.with_suffix(".bin") if checkpoint.container == "ncnn" else path),
        metadata=checkpoint.metadata,
        network=network.name,
        other_networks=network.others,
    )
