"""State dicts to models that are ready to run, and back to files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from spandrel import Architecture as SpandrelArchitecture
from spandrel import ImageModelDescriptor, SizeRequirements, StateDict
from torch import Tensor, nn
from typing_extensions import override

from . import checkpoints
from .archs._normalisation import PAPER, Normalisation
from .archs._record import Architecture
from .blocks import ConvForm, FusedConv3XC
from .errors import CheckpointError, CheckpointNotFoundError, WeightsError
from .registry import detect, require
from .reparam import branched_blocks, fuse

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Source:
    """Where a model comes from."""

    name: str
    """The path of the file, or the name of the built-in network."""
    container: str
    """The format of the file, such as ``safetensors``."""
    form: str
    """``"training"`` where the file holds the branches of its convolutions, ``"fused"`` where it holds their sums."""
    sha256: str
    """Of the file, in hexadecimal; of an ncnn pair that of the .bin."""
    metadata: Mapping[str, str]
    """What the file says of itself."""
    normalisation: str
    """How the normalisation is known: what the file states, its architecture, its ``no_norm`` key, or the paper's by default."""


class FamilyModel(ImageModelDescriptor[nn.Module]):
    """A network of the family, fused, as spandrel and ComfyUI know models."""

    def __init__(self, network: nn.Module, record: Architecture, hyperparameters: Mapping[str, Any], source: Source | None = None) -> None:
        scale: int = hyperparameters["scale"]
        super().__init__(
            network,
            network.state_dict(),
            architecture=_SpandrelArchitecture(record),
            purpose="SR" if scale > 1 else "Restoration",
            tags=[f"{hyperparameters['feature_channels']}nf", f"{blocks_text(hyperparameters['blocks'])}b"],
            supports_half=True,
            supports_bfloat16=True,
            scale=scale,
            input_channels=hyperparameters["in_channels"],
            output_channels=hyperparameters["out_channels"],
            size_requirements=SizeRequirements(multiple_of=hyperparameters.get("unshuffle", 1)),
        )
        self.record: Final = record
        self.hyperparameters: Final = dict(hyperparameters)
        self.source: Final = source

    @property
    def normalisation(self) -> Normalisation | None:
        """What the network does to its image first."""
        return getattr(self.model, "normalisation", None)


class _SpandrelArchitecture(SpandrelArchitecture[nn.Module]):
    """A record of ours in spandrel's terms."""

    def __init__(self, record: Architecture) -> None:
        super().__init__(id=record.name, name=record.name, detect=self._is_mine)
        self._record: Final = record

    def _is_mine(self, state_dict: StateDict) -> bool:
        return not self._record.missing_keys(fuse(state_dict))

    @override
    def load(self, state_dict: StateDict) -> ImageModelDescriptor[nn.Module]:
        return from_state_dict(state_dict)


def builtin_names() -> tuple[str, ...]:
    """The names of the networks that come with the library, sorted."""
    return tuple(sorted(file.stem for file in WEIGHTS.glob("*.safetensors")))


def load(name_or_path: str | Path) -> FamilyModel:
    """Loads a network of the SPAN family, fused, in float32, on the CPU and in evaluation mode.

    Args:
        name_or_path: a built-in network (see `builtin_names`) or a file: ``.safetensors``, ``.pth``, ``.pt``, ``.ckpt``, or either
            file of an ncnn pair. Fused files and training files alike; nothing that a file holds is ever run.

    Raises:
        CheckpointError: in its subclasses, all that can be wrong with a file. `errors` has the tree.
    """
    path = _resolve(name_or_path)
    checkpoint = checkpoints.read(path)
    try:
        return _from_checkpoint(checkpoint, str(name_or_path))
    except CheckpointError as error:  # of a state dict, which knows no file
        raise type(error)(f"'{name_or_path}': {error}") from error


def _from_checkpoint(checkpoint: checkpoints.Checkpoint, name: str) -> FamilyModel:
    path = checkpoint.path
    normalisation, reason = checkpoint.normalisation, "stated in the file"
    if isinstance(normalisation, str):
        normalisation, reason = _default_normalisation(checkpoint.state, detect(checkpoint.state))
    source = Source(
        name=name,
        container=checkpoint.container,
        form="training" if branched_blocks(checkpoint.state) else "fused",
        sha256=_sha256(path.with_suffix(".bin") if path.suffix.lower() == ".param" else path),
        metadata=checkpoint.metadata,
        normalisation=reason,
    )
    return from_state_dict(checkpoint.state, normalisation=normalisation, source=source)


def from_state_dict(
    state: Mapping[str, Tensor], *, normalisation: Normalisation | str | None = "auto", source: Source | None = None
) -> FamilyModel:
    """Builds the fused network that a state dict, fused or in its training form, is of.

    Args:
        state: tensors by attribute path, of any floating type; not changed.
        normalisation: what the network does to its image first, None for nothing. ``"auto"``: nothing if its architecture never
            does or the key ``no_norm`` is there, else what the paper does.
        source: what the model shall tell of its origin.

    Raises:
        UnknownArchitectureError: it is of no architecture of the family.
        WeightsError: tensors are missing, unexpected, misshapen or not finite.
    """
    # Made outside the inference mode in which ComfyUI runs its nodes, so that the weights can be used outside it as well.
    with torch.inference_mode(False), torch.no_grad():
        fused = {key: tensor for key, tensor in fuse(state).items() if key != "no_norm"}
        record = require(fused)
        if isinstance(normalisation, str):
            normalisation, _ = _default_normalisation(state, record)
        hyperparameters = record.hyperparameters(fused)
        network = build(record, hyperparameters, normalisation)
        _check(fused, network)
        network.load_state_dict(fused, strict=False)  # `no_norm` is the network's own; `_check` has seen to the rest
    return FamilyModel(network.eval().requires_grad_(False), record, hyperparameters, source)


def adopt(model: ImageModelDescriptor[nn.Module]) -> ImageModelDescriptor[nn.Module]:
    """The fused network of ours that computes what another loader's model computes, if it is of the family; else that model.

    Other loaders keep the branches, and some fuse them anew at every call. The model that is passed in is not changed.
    """
    if isinstance(model, FamilyModel):
        return model
    network: Any = model.model
    state = network.state_dict()
    if detect(state) is None:
        return model
    normalisation = None
    if "no_norm" not in state and hasattr(network, "img_range"):
        red, green, blue = network.mean.flatten().tolist()
        normalisation = Normalisation((red, green, blue), float(network.img_range))
    return from_state_dict(state, normalisation=normalisation)


def build(
    record: Architecture,
    hyperparameters: Mapping[str, Any],
    normalisation: Normalisation | None,
    conv: ConvForm = FusedConv3XC,
) -> nn.Module:
    """A network with weights as they happen to be; of its training form, if it has one, with ``conv=Conv3XC``.

    Raises:
        WeightsError: a normalisation is asked of a network that has none, or of one whose images are not of three channels.
    """
    assert record.has_training_form or conv is FusedConv3XC
    form = {"conv": conv} if record.has_training_form else {}
    if not record.normalised:
        if normalisation is not None:
            raise WeightsError(
                f"For this {record.name} the normalisation {normalisation} is stated, but networks of that architecture take the image "
                "as it is. If the file states it, its graph is not what its weights are of: get it again from its source."
            )
        return record.module(**hyperparameters, **form)
    if normalisation is not None and (channels := hyperparameters["in_channels"]) != 3:
        raise WeightsError(
            f"The network takes images of {channels} channel{'s' * (channels > 1)}, but without the key 'no_norm' it expects a "
            "normalised image, and the family's normalisation is defined for R, G and B only. If it was trained without, add "
            "that key: state['no_norm'] = torch.zeros(1)."
        )
    return record.module(**hyperparameters, **form, normalisation=normalisation)


def _resolve(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if str(name_or_path) in builtin_names():
        return WEIGHTS / f"{name_or_path}.safetensors"
    if not path.suffix and not path.exists():
        raise CheckpointNotFoundError(
            f"There is no built-in network '{name_or_path}', and no file of that name. Built in are {', '.join(builtin_names())}."
        )
    return path


def _default_normalisation(state: Mapping[str, Tensor], record: Architecture | None) -> tuple[Normalisation | None, str]:
    if record is not None and not record.normalised:
        return None, f"no {record.name} has one"
    return (None, "the file has the key 'no_norm'") if "no_norm" in state else (PAPER, "not stated; the paper's is assumed")


def blocks_text(blocks: int | tuple[int, ...]) -> str:
    return str(blocks) if isinstance(blocks, int) else "+".join(map(str, blocks))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check(state: Mapping[str, Tensor], network: nn.Module) -> None:
    """Raises a `WeightsError` that tells all that is wrong with the tensors of a fused state dict at once."""
    expected = {key: tensor for key, tensor in network.state_dict().items() if key != "no_norm"}
    faults = [f"{key} is missing" for key in expected if key not in state]
    faults += [f"{key} is unexpected" for key in state if key not in expected]
    for key in (key for key in expected if key in state):
        found, wanted = tuple(state[key].shape), tuple(expected[key].shape)
        if found != wanted:
            faults.append(f"{key} has the shape {found}, expected {wanted}")
        elif not state[key].is_floating_point():
            faults.append(f"{key} is of the type {state[key].dtype}, expected a floating one")
        elif not torch.isfinite(state[key]).all():
            faults.append(f"{key} has {int((~torch.isfinite(state[key])).sum())} values that are NaN or infinite")
    if faults:
        more = f"; and {len(faults) - 8} more" if len(faults) > 8 else ""
        raise WeightsError(
            f"This is a network of the family, but its weights are not in order: {'; '.join(faults[:8])}{more}. "
            "The file is damaged or unfinished: get it again from its source."
        )
