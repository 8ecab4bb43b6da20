"""Build models that are ready to run from state dicts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakKeyDictionary

import torch
from spandrel import Architecture as SpandrelArchitecture
from spandrel import ImageModelDescriptor, SizeRequirements, StateDict
from torch import Tensor, nn
from typing_extensions import override

from ..archs.blocks import ConvForm, FusedConv3XC
from ..archs.bounds import Limits, limits_of, set_limits
from ..archs.normalisation import Normalisation, Normalise, parse_normalisation
from ..archs.record import Architecture
from ..archs.registry import STATEMENTS, detect, require_architecture
from ..archs.reparam import fuse
from ..errors import OptionError, WeightsError
from .calibration import calibrate
from .check_weights import check_shapes, check_tensors
from .normalisation_probe import Finding, Mean, find_normalisation

_log = logging.getLogger(__name__)

Model = ImageModelDescriptor[nn.Module]
"""Any image model that spandrel describes, of this family or another."""


@dataclass(frozen=True)
class Source:
    """The file that a model was loaded from."""

    name: str
    """The path of the file, or the name of the built-in network."""
    container: str
    """The container, such as ``safetensors``."""
    form: str
    """``"training"`` if the file holds the branches of its convolutions, ``"fused"`` if it holds the merged convolutions.
    Empty for networks outside the family."""
    precision: str
    """The type of the weights in the file, such as ``float16``."""
    sha256: str
    """The file's checksum in hexadecimal. For an ncnn pair, the checksum of the .bin."""
    metadata: Mapping[str, str]
    """The file's metadata."""
    network: str = ""
    """The path of the network within the file, such as ``params_ema``. Empty for a bare state dict."""
    other_networks: tuple[str, ...] = ()
    """The paths of other networks of the family within the file."""


class FamilyModel(ImageModelDescriptor[nn.Module]):
    """A fused network of the family as a spandrel model, which is also what ComfyUI expects."""

    def __init__(
        self,
        network: nn.Module,
        record: Architecture,
        hyperparameters: Mapping[str, Any],
        source: Source | None = None,
        normalisation_known: str = "",
        normalisation_doubtful: bool = False,
    ) -> None:
        scale: int = hyperparameters["scale"]
        super().__init__(
            network,
            network.state_dict(),
            architecture=SpandrelSupport(record),
            purpose="SR" if scale > 1 else "Restoration",
            tags=[f"{hyperparameters['feature_channels']}nf", f"{format_blocks(hyperparameters['blocks'])}b"],
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
        self.normalisation_known: Final = normalisation_known
        """How the normalisation is known: from the caller, the file, its graph, its architecture, or a measurement."""
        self.normalisation_doubtful: Final = normalisation_doubtful
        """True if the normalisation is a guess, so that the colours of a result may be wrong."""

    @property
    def normalisation(self) -> Normalisation | None:
        """The normalisation that the network applies to its image, None for none."""
        return getattr(self.model, "normalisation", None)

    @property
    def limits(self) -> Limits | None:
        """The limits on the activations of the network, None if it is not bounded."""
        return limits_of(self.model)

    def bound(self, limits: Limits | None) -> None:
        """Bound the activations by limits, or with None, by limits measured on calibration images.

        Raises:
            WeightsError: the limits do not fit the network.
        """
        set_limits(self.model, None)
        if limits is None and (limits := calibrate(self.model, self.input_channels)) is None:
            name = self.source.name if self.source else "this network"
            _log.warning("The values of %s overflow on ordinary images. It runs without bounds; its weights are probably untrained.", name)
        set_limits(self.model, limits)

    @property
    def warning(self) -> str:
        """A text that warns of colours that may be wrong; empty if the normalisation is not doubtful."""
        if not self.normalisation_doubtful:
            return ""
        return (
            f"The colours of {self.source.name if self.source else 'this network'} may be wrong, because its normalisation is "
            f"uncertain. It is used with {self.normalisation or 'no normalisation'}. If the colours are wrong, choose another "
            "normalisation by 'normalise' in Load SPAN Model or in Python, or by --normalise on the command line."
        )


class SpandrelSupport(SpandrelArchitecture[nn.Module]):
    """An architecture of the family as spandrel describes architectures."""

    def __init__(self, record: Architecture) -> None:
        super().__init__(id=f"span-upscale/{record.name}", name=record.name, detect=lambda state: detect(state) is record)

    @override
    def load(self, state_dict: StateDict) -> Model:
        return from_state_dict(state_dict)


def from_state_dict(
    state: Mapping[str, Tensor],
    *,
    normalise: Normalise = "auto",
    source: Source | None = None,
    normalisation_known: str = "set by the caller",
    bounded: bool = True,
    limits: Limits | None = None,
) -> FamilyModel:
    """Build the fused model of a state dict in either form: float32, on the CPU, in evaluation mode.

    Args:
        state: tensors by attribute path, of any floating-point type. Neither changed nor shared with the model.
        normalise: as for `load`. ``"auto"`` is none if the architecture never normalises or the state dict has the key ``no_norm``.
            Otherwise it is measured, apart from a mean that the state dict states by the key ``mean``. A warning is logged if the
            measurement fails.
        source: the model's `FamilyModel.source`.
        normalisation_known: the model's `FamilyModel.normalisation_known`, unless ``normalise`` is ``"auto"``.
        bounded: bound the activations (see `archs.bounds`), so that no image makes the network explode.
        limits: the bounds. None measures them (see `calibrate`), and logs a warning if the network's values overflow.

    Raises:
        UnknownArchitectureError: the state dict is not of the family.
        WeightsError: tensors are missing, unexpected, misshapen or not finite.
        OptionError: ``normalise`` is invalid, or the network does not normalise.
    """
    normalisation, subject = parse_normalisation(normalise), source.name if source else "The state dict"
    # ComfyUI runs its nodes in inference mode. Weights made in that mode could not be used outside it.
    with torch.inference_mode(False), torch.no_grad():
        record = require_architecture(state, subject)
        check_tensors(state, subject)
        mean = _stated_mean(state) if record.normalised else None
        statements = {"no_norm"} if record.normalised and mean is None else STATEMENTS  # a mean of another shape is an error
        fused = {key: tensor.to("cpu", torch.float32) for key, tensor in fuse(state).items() if key not in statements}
        hyperparameters = record.hyperparameters(fused)
        with torch.device("meta"):  # a hostile file may ask for any shape, so memory is taken only after the check
            check_shapes(fused, build_network(record, hyperparameters, None), subject)

        def network(normalisation: Normalisation | None) -> nn.Module:
            built = build_network(record, hyperparameters, normalisation)
            built.load_state_dict(fused, strict=False)  # only `no_norm` may be missing, as checked above
            return built.eval().requires_grad_(False)

        if normalisation != "auto":
            found = Finding(normalisation, normalisation_known)
        elif not record.normalised:
            found = Finding(None, f"{record.name} never normalises")
        elif record.normalisation is not None:
            found = Finding(record.normalisation, f"the same in every {record.name} network")
        elif "no_norm" in state:
            found = Finding(None, "the file has the key 'no_norm'")
        else:
            _check_can_be_normalised(hyperparameters)
            found = find_normalisation(lambda: network(None), hyperparameters["scale"], mean)
        model = FamilyModel(network(found.normalisation), record, hyperparameters, source, found.known, found.doubtful)
        if bounded:
            model.bound(limits)
        if model.warning:
            _log.warning(model.warning)
        return model


def adopt(model: Model) -> Model:
    """Return the fused model that computes the same as another loader's model of the family. Return other models as they are.

    Other loaders keep the branches, and some fuse them again at every call. The given model is not changed. It is fused once, and
    again only if its weights change or move.
    """
    if isinstance(model, FamilyModel):
        return model
    state = model.model.state_dict()
    if detect(state) is None:
        return model
    # Tensors created in inference mode, as in ComfyUI, have no version counter. They are never trained there.
    versions = tuple((tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in state.values())
    cached = _adopted.get(model.model)
    if cached is None or cached[0] != versions:
        _adopted[model.model] = cached = versions, _fused(model.model, state)
    return cached[1]


_adopted: WeakKeyDictionary[nn.Module, tuple[object, FamilyModel]] = WeakKeyDictionary()


def _fused(network: Any, state: StateDict) -> FamilyModel:
    normalisation: Normalisation | None = None
    if (own := getattr(network, "normalisation", None)) is not None:  # of another copy of this library
        normalisation = Normalisation(tuple(own.mean), float(own.range))
    elif "no_norm" not in state and hasattr(network, "img_range"):
        red, green, blue = (round(value, 6) for value in network.mean.flatten().tolist())  # float32 of decimals
        normalisation = Normalisation((red, green, blue), float(network.img_range))
    return from_state_dict(state, normalise=normalisation, normalisation_known="set by the other loader")


def build_network(
    record: Architecture, hyperparameters: Mapping[str, Any], normalisation: Normalisation | None, conv: ConvForm = FusedConv3XC
) -> nn.Module:
    """Return a network with untrained weights. With ``conv=Conv3XC`` it is in its training form, if it has one.

    Raises:
        OptionError: the architecture does not normalise, but a normalisation is given.
        WeightsError: a normalisation is given, but images do not have three channels.
    """
    assert record.has_training_form or conv is FusedConv3XC
    form = {"conv": conv} if record.has_training_form else {}
    if record.normalised:
        if normalisation is not None:
            _check_can_be_normalised(hyperparameters)
        return record.module(**hyperparameters, **form, normalisation=normalisation)
    if normalisation is not None:
        raise OptionError(f"The normalisation {normalisation} does not apply: {record.name} networks take images as they are. Use 'auto'.")
    return record.module(**hyperparameters, **form)


def format_blocks(blocks: int | tuple[int, ...]) -> str:
    """Return ``"6"``, or ``"4+2"`` for blocks in groups."""
    return str(blocks) if isinstance(blocks, int) else "+".join(map(str, blocks))


def precision_of(tensors: Iterable[Tensor]) -> str:
    """Return the type of the largest tensor, such as ``float16``, or an empty text for none. Small ones may have another type."""
    largest = max(tensors, key=Tensor.numel, default=None)
    return "" if largest is None else str(largest.dtype).removeprefix("torch.")


def _stated_mean(state: Mapping[str, Tensor]) -> Mean | None:
    """Return the mean for R, G and B that some training programs store as a buffer, None if there is no such buffer."""
    tensor = state.get("mean")
    if tensor is None or tensor.shape not in ((1, 3, 1, 1), (3,)) or not torch.isfinite(tensor).all():
        return None
    red, green, blue = (round(float(value), 6) for value in tensor.flatten())  # float32 of decimals
    return red, green, blue


def _check_can_be_normalised(hyperparameters: Mapping[str, Any]) -> None:
    if (channels := hyperparameters["in_channels"]) != 3:
        raise WeightsError(
            f"The network takes images with {channels} channel{'s' * (channels > 1)}, but normalisation needs R, G and B. The key "
            "'no_norm', which would rule out normalisation, is missing. Load the file with the normalisation 'none'."
        )
