"""What there is to know of a model: for the command line, and for the node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..streaming.receptive_field import receptive_field
from .build import FamilyModel, Model, adopt, blocks_text, type_of

UNKNOWN = "unknown"


@dataclass(frozen=True)
class ModelInfo:
    """What there is to know of a model. What nobody knows is ``"unknown"``, or 0 where it would be a number.

    As text it is a line for each thing that is known.
    """

    architecture: str
    scale: int
    """Pixels of the result per pixel of the image, along a side."""
    image_channels: str
    """``3``, or ``3 in, 1 out`` where the result has others than the image."""
    parameters: int
    """Of the fused network, if it is one of the family."""
    receptive_field: int
    """Side of the square that a pixel of the result can depend on, in pixels of the image; 0 if it is not finite, or not known."""
    precision: str
    """Type of the weights in the file, such as ``float16``; if there is no file to ask, in memory."""
    feature_channels: int = 0
    blocks: str = UNKNOWN
    """``6``, or ``4+2`` for blocks in groups."""
    normalisation: str = UNKNOWN
    """What the network does to its image ``x`` first, or ``none``."""
    normalisation_known: str = UNKNOWN
    """How that is known."""
    sha256: str = UNKNOWN
    """Of the file, in hexadecimal; of an ncnn pair that of the .bin."""
    more: Mapping[str, str] | None = None
    """What else there is to tell, by name."""

    def __str__(self) -> str:
        side = self.receptive_field
        told = {
            "architecture": self.architecture,
            "scale": f"x{self.scale}",
            "image channels": self.image_channels,
            "feature channels": str(self.feature_channels or UNKNOWN),
            "blocks": self.blocks,
            "parameters": f"{self.parameters:,}",
            "receptive field": f"{side}x{side} pixels ({side // 2} to each side)" if side else "not finite, or not known",
            "normalisation": UNKNOWN if self.normalisation == UNKNOWN else f"{self.normalisation} ({self.normalisation_known})",
            "precision": self.precision,
            "SHA-256": self.sha256,
            **(self.more or {}),
        }
        facts = {name: fact for name, fact in told.items() if fact != UNKNOWN}
        width = max(map(len, facts)) + 2
        return "\n".join(f"{name + ':':<{width}}{fact}" for name, fact in facts.items())


def describe(model: Model) -> ModelInfo:
    """Tells what a model is, without changing it.

    Args:
        model: any spandrel image model. Of one of the family all is known that is known of one that `load` gives, but for its file
            if another loader has made it.

    Raises:
        WeightsError: it is of the family, but its weights are not in order.
    """
    ours = adopt(model)
    sight = receptive_field(ours.model)
    taken, given = ours.input_channels, ours.output_channels
    info = ModelInfo(
        architecture=ours.architecture.name,
        scale=ours.scale,
        image_channels=str(taken) if taken == given else f"{taken} in, {given} out",
        parameters=sum(parameter.numel() for parameter in ours.model.parameters()),
        receptive_field=0 if sight is None else 2 * sight.radius + 1,
        precision=type_of(model.model.parameters()) or UNKNOWN,
    )
    if not isinstance(ours, FamilyModel):
        return replace(info, more={"tags": ", ".join(ours.tags)} if ours.tags else None)
    info = replace(
        info,
        feature_channels=ours.hyperparameters["feature_channels"],
        blocks=blocks_text(ours.hyperparameters["blocks"]),
        normalisation=str(ours.normalisation or "none"),
        normalisation_known=ours.normalisation_known,
    )
    if (source := ours.source) is None:
        return info
    more = {"container": source.container, "form in the file": source.form}
    more |= {key: source.metadata[key] for key in ("authors", "license", "source") if key in source.metadata}
    return replace(info, precision=source.precision, sha256=source.sha256, more=more)
