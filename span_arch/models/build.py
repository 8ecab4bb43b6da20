"""State dicts to models that are ready to run."""

from __future__ import annotations

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
from ..archs.normalisation import Normalisation, Normalise, wished
from ..archs.record import Architecture
from ..archs.registry import detect, require
from ..archs.reparam import fuse
from ..errors import OptionError, WeightsError
from .normalisation_probe import find_normalisation

Model = ImageModelDescriptor[nn.Module]
"""Any image model that spandrel describes: of this family or of another."""


@dataclass(frozen=True)
class Source:
    """The file that a model comes from."""

    name: str
    """The path of the file, or the name of the built-in network."""
    container: str
    """The format of the file, such as ``safetensors``."""
    form: str
    """``"training"`` where the file holds the branches of its convolutions, ``"fused"`` where it holds their sums."""
    precision: str
    """Type of the weights in the file, such as ``float16``."""
    sha256: str
    """Of the file, in hexadecimal; of an ncnn pair that of the .bin."""
    metadata: Mapping[str, str]
    """What the file says of itself."""


class FamilyModel(ImageModelDescriptor[nn.Module]):
    """A network of the family, fused, as spandrel and ComfyUI know models."""

    def __init__(
        self, network: nn.Module, record: Architecture, hyperparameters: Mapping[str, Any], source: Source | None = None, known: str = ""
    ) -> None:
        scale: int = hyperparameters["scale"]
        super().__init__(
            network,
            network.state_dict(),
            architecture=SpandrelSupport(record),
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
        self.normalisation_known: Final = known
        """How the normalisation is known, in words: from the file, its graph, its architecture, or a probe."""

    @property
    def normalisation(self) -> Normalisation | None:
        """What the network does to its image first."""
        return getattr(self.model, "normalisation", None)


class SpandrelSupport(SpandrelArchitecture[nn.Module]):
    """A record of ours in spandrel's terms."""

    def __init__(self, record: Architecture) -> None:
        super().__init__(id=f"span-upscale/{record.name}", name=record.name, detect=lambda state: detect(state) is record)

    @override
    def load(self, state_dict: StateDict) -> Model:
        return from_state_dict(state_dict)


def from_state_dict(
    state: Mapping[str, Tensor], *, normalise: Normalise = "auto", source: Source | None = None, known: str = "as asked for"
) -> FamilyModel:
    """Builds the fused network that a state dict, fused or in its training form, is of.

    Args:
        state: tensors by attribute path, of any floating type; not changed, and not shared with the model.
        normalise: as for `load`. ``"auto"``: nothing if its architecture never does or the key ``no_norm`` is there, else what the
            network itself answers to a probe.
        source: what the model shall tell of its origin.
        known: what it shall tell of how its normalisation is known, if that is not ``"auto"``.

    Raises:
        UnknownArchitectureError: it is of no architecture of the family.
        WeightsError: tensors are missing, unexpected, misshapen or not finite.
        OptionError: ``normalise`` makes no sense, or not for this network.
    """
    wish = wished(normalise)
    # Made outside the inference mode in which ComfyUI runs its nodes, so that the weights can be used outside it as well.
    with torch.inference_mode(False), torch.no_grad():
        record = require(state)
        _check_tensors(state)
        fused = {key: tensor.to("cpu", torch.float32) for key, tensor in fuse(state).items() if key != "no_norm"}
        hyperparameters = record.hyperparameters(fused)
        with torch.device("meta"):  # before memory is taken for whatever shapes a file asks for
            _check(fused, build(record, hyperparameters, None))

        def network(normalisation: Normalisation | None) -> nn.Module:
            made = build(record, hyperparameters, normalisation)
            made.load_state_dict(fused, strict=False)  # `no_norm` is the network's own; `_check` has seen to the rest
            return made.eval().requires_grad_(False)

        if not record.normalised and wish == "auto":
            wish, known = None, f"no {record.name} has one"
        elif wish == "auto" and "no_norm" in state:
            wish, known = None, "the file has the key 'no_norm'"
        elif wish == "auto":
            _check_can_be_normalised(hyperparameters)
            wish, known = find_normalisation(network, hyperparameters["scale"])
        return FamilyModel(network(wish), record, hyperparameters, source, known)


def adopt(model: Model) -> Model:
    """The fused network of ours that computes what another loader's model computes, if it is of the family; else that model.

    Other loaders keep the branches, and some fuse them anew at every call. The model that is passed in is not changed. It is fused
    once, and again if its weights have changed or moved since.
    """
    if isinstance(model, FamilyModel):
        return model
    network: Any = model.model
    state = network.state_dict()
    if detect(state) is None:
        return model
    # Tensors made in inference mode, as the host makes them, count no versions: there nobody trains.
    versions = tuple((tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in state.values())
    known = _adopted.get(network)
    if known is None or known[0] != versions:
        _adopted[network] = known = versions, _fused(network, state)
    return known[1]


_adopted: WeakKeyDictionary[nn.Module, tuple[object, FamilyModel]] = WeakKeyDictionary()


def _fused(network: Any, state: StateDict) -> FamilyModel:
    normalisation: Normalisation | None = None
    if (own := getattr(network, "normalisation", None)) is not None:  # of another copy of this library
        normalisation = Normalisation(tuple(own.mean), float(own.range))
    elif "no_norm" not in state and hasattr(network, "img_range"):
        red, green, blue = (round(value, 6) for value in network.mean.flatten().tolist())  # float32 of what was written as decimals
        normalisation = Normalisation((red, green, blue), float(network.img_range))
    return from_state_dict(state, normalise=normalisation, known="as it was loaded")


def build(
    record: Architecture,
    hyperparameters: Mapping[str, Any],
    normalisation: Normalisation | None,
    conv: ConvForm = FusedConv3XC,
) -> nn.Module:
    """A network with weights as they happen to be; of its training form, if it has one, with ``conv=Conv3XC``.

    Raises:
        OptionError: a normalisation is asked of a network that has none.
        WeightsError: a normalisation is asked of one whose images are not of three channels.
    """
    assert record.has_training_form or conv is FusedConv3XC
    form = {"conv": conv} if record.has_training_form else {}
    if not record.normalised:
        if normalisation is not None:
            raise OptionError(
                f"For this {record.name} the normalisation {normalisation} is stated or asked for, but networks of that architecture take "
                "the image as it is. Leave the normalisation at 'auto'."
            )
        return record.module(**hyperparameters, **form)
    if normalisation is not None:
        _check_can_be_normalised(hyperparameters)
    return record.module(**hyperparameters, **form, normalisation=normalisation)


def blocks_text(blocks: int | tuple[int, ...]) -> str:
    """``6``, or ``4+2`` for blocks in groups."""
    return str(blocks) if isinstance(blocks, int) else "+".join(map(str, blocks))


def _check_can_be_normalised(hyperparameters: Mapping[str, Any]) -> None:
    channels = hyperparameters["in_channels"]
    if channels != 3:
        raise WeightsError(
            f"The network takes images of {channels} channel{'s' * (channels > 1)}, but without the key 'no_norm' it expects a "
            "normalised image, and the family's normalisation is defined for R, G and B only. If it was trained without, load it "
            "with the normalisation 'none'."
        )


def type_of(tensors: Iterable[Tensor]) -> str:
    """The type that weights are stored in, such as ``float16``: that of the largest, since some keep scalars in another. Empty if none."""
    largest = max(tensors, key=Tensor.numel, default=None)
    return "" if largest is None else str(largest.dtype).removeprefix("torch.")


_MOST_TENSORS = 4096
"""No network of the family comes near, not even with all its branches."""


def _check_tensors(state: Mapping[str, Tensor]) -> None:
    """Raises a `WeightsError` that tells which tensors are none that could be a network's, whatever shapes it asks for."""
    if len(state) > _MOST_TENSORS:
        _raise([f"{len(state):,} tensors are here, and no network has more than {_MOST_TENSORS:,}"])
    _raise([f"{key} {fault}" for key, tensor in state.items() if (fault := _fault(key, tensor)) is not None])
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in state.values()}
    claimed = sum(tensor.numel() * tensor.itemsize for tensor in state.values())
    if claimed > sum(storages.values()):
        _raise([f"its tensors claim {claimed:,} bytes by sharing {sum(storages.values()):,}, and those of a network share none"])


def _fault(key: str, tensor: Tensor) -> str | None:
    if tensor.layout is not torch.strided or tensor.device.type == "meta" or tensor.is_quantized or tensor.is_nested:
        return "is sparse, nested, quantised or without contents, expected plain numbers"
    if not tensor.is_floating_point():
        return f"is of the type {tensor.dtype}, expected a floating one"
    if tensor.numel() == 0 or (key.endswith(".weight") and tensor.ndim != 4):
        return f"has the shape {tuple(tensor.shape)}; weights of the family have four axes, and none is 0 long"
    if tensor.numel() * tensor.itemsize > tensor.untyped_storage().nbytes():
        return f"claims the shape {tuple(tensor.shape)}, for which its {tensor.untyped_storage().nbytes():,} bytes are too few"
    return None


def _check(state: Mapping[str, Tensor], network: nn.Module) -> None:
    """Raises a `WeightsError` that tells all that is wrong with the tensors of a fused state dict at once."""
    expected = {key: tensor for key, tensor in network.state_dict().items() if key != "no_norm"}
    faults = [f"{key} is missing" for key in expected if key not in state]
    faults += [f"{key} is unexpected" for key in state if key not in expected]
    for key in (key for key in expected if key in state):
        found, wanted = tuple(state[key].shape), tuple(expected[key].shape)
        if found != wanted:
            faults.append(f"{key} has the shape {found}, expected {wanted}")
        elif not torch.isfinite(state[key]).all():
            faults.append(f"{key} has {int((~torch.isfinite(state[key])).sum())} values that are NaN or infinite")
    _raise(faults)


def _raise(faults: list[str]) -> None:
    if faults:
        more = f"; and {len(faults) - 8} more" if len(faults) > 8 else ""
        told = "; ".join(fault[:300] for fault in faults[:8])  # keys of a hostile file are as long as they like
        raise WeightsError(
            f"This is a network of the family, but its weights are not in order: {told}{more}. "
            "The file is damaged or unfinished: get it again from its source."
        )
