"""Describe a model, for the command line and the node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..streaming.receptive_field import find_receptive_field
from .build import FamilyModel, Model, Source, adopt, format_blocks, precision_of
from .catalogue import recognise
from .other_families import source_of
from .spandrel_compat import CalledNetwork

UNKNOWN = "unknown"


@dataclass(frozen=True)
class ModelInfo:
    """The facts about a model. Unknown facts are ``"unknown"``, or 0 for numbers. As text, each known fact is a line."""

    architecture: str
    scale: int
    """Result pixels per image pixel, along each side."""
    image_channels: str
    """``3``, or ``3 in, 1 out`` if the result has other channels than the image."""
    parameters: int
    """Number of weights; for models of the family, in their fused form."""
    receptive_field: int
    """Side in image pixels of the square that a result pixel can depend on. 0 if infinite or unknown."""
    precision: str
    """Type of the weights in the file, such as ``float16``, or of those in memory if there is no file."""
    feature_channels: int = 0
    blocks: str = UNKNOWN
    """``6``, or ``4+2`` for blocks in groups."""
    normalisation: str = UNKNOWN
    """The formula that the network applies to its image ``x`` first, or ``none``."""
    normalisation_known: str = UNKNOWN
    """How the normalisation is known."""
    warning: str = UNKNOWN
    """A text that says that the colours of a result may be wrong, if the normalisation is a guess."""
    sha256: str = UNKNOWN
    """The file's checksum in hexadecimal. For an ncnn pair, the checksum of the .bin."""
    more: Mapping[str, str] | None = None
    """Further facts by name."""

    def __str__(self) -> str:
        side = self.receptive_field
        facts = {
            "architecture": self.architecture,
            "scale": f"x{self.scale}",
            "image channels": self.image_channels,
            "feature channels": str(self.feature_channels or UNKNOWN),
            "blocks": self.blocks,
            "parameters": f"{self.parameters:,}",
            "receptive field": f"{side}x{side} pixels" if side else "infinite or unknown",
            "normalisation": UNKNOWN if self.normalisation == UNKNOWN else f"{self.normalisation} ({self.normalisation_known})",
            "warning": self.warning,
            "precision": self.precision,
            "SHA-256": self.sha256,
            **(self.more or {}),
        }
        known = {name: fact for name, fact in facts.items() if fact != UNKNOWN}
        width = max(map(len, known)) + 2
        return "\n".join(f"{name + ':':<{width}}{fact}" for name, fact in known.items())


def describe(model: Model) -> ModelInfo:
    """Return the facts about a model, without changing it.

    Args:
        model: any spandrel image model. For models of the family from other loaders, only the facts about the file are unknown.

    Raises:
        WeightsError: the model is of the family, but its weights are faulty.
    """
    ours = adopt(model)
    field = find_receptive_field(CalledNetwork(ours))
    inputs, outputs = ours.input_channels, ours.output_channels
    info = ModelInfo(
        architecture=ours.architecture.name,
        scale=ours.scale,
        image_channels=str(inputs) if inputs == outputs else f"{inputs} in, {outputs} out",
        parameters=sum(parameter.numel() for parameter in ours.model.parameters()),
        receptive_field=0 if field is None else 2 * field.radius + field.unit,
        precision=precision_of(model.model.parameters()) or UNKNOWN,
    )
    if not isinstance(ours, FamilyModel):
        return _with_source(replace(info, more={"tags": ", ".join(ours.tags)} if ours.tags else None), source_of(ours))
    info = replace(
        info,
        feature_channels=ours.hyperparameters["feature_channels"],
        blocks=format_blocks(ours.hyperparameters["blocks"]),
        normalisation=str(ours.normalisation or "none"),
        normalisation_known=ours.normalisation_known,
        warning=ours.warning or UNKNOWN,
        more={"activations": "not bounded" if ours.limits is None else "bounded"},
    )
    return _with_source(info, ours.source)


def _with_source(info: ModelInfo, source: Source | None) -> ModelInfo:
    if source is None:
        return info
    more = {**(info.more or {}), "container": source.container, "form in the file": source.form or UNKNOWN}
    if source.other_networks:
        more["network in the file"] = f"{source.network or 'the bare one'} (the file also holds {', '.join(source.other_networks)})"
    if (known := recognise(source.sha256)) is not None:
        more |= {"known as": known.label, "author": known.author, "licence": known.licence_text}
    stated = {"author": "authors", "licence": "license", "source": "source"}
    more |= {fact: source.metadata[key] for fact, key in stated.items() if key in source.metadata}
    return replace(info, precision=source.precision, sha256=source.sha256, more=more)
