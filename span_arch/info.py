"""What there is to know of a model, in words."""

from __future__ import annotations

from .model import FamilyModel, blocks_text
from .receptive_field import receptive_field


def describe(model: FamilyModel) -> dict[str, str]:
    """Facts by name, in the order in which they are to be shown."""
    h = model.hyperparameters
    sight = receptive_field(model.model)
    side = 2 * sight.radius + 1 if sight is not None else 0
    facts = {
        "architecture": model.record.name,
        "scale": f"x{model.scale}",
        "image channels": " in, ".join(map(str, dict.fromkeys((model.input_channels, model.output_channels)))),
        "feature channels": str(h["feature_channels"]),
        "blocks": blocks_text(h["blocks"]),
        "parameters": f"{sum(parameter.numel() for parameter in model.model.parameters()):,}",
        "receptive field": "not finite" if sight is None else f"{side}x{side} pixels ({sight.radius} to each side)",
        "normalisation": str(model.normalisation or "none"),
    }
    if model.normalisation_known:
        facts["normalisation"] += f" ({model.normalisation_known})"
    if model.source is not None:
        facts |= {"container": model.source.container, "form in the file": model.source.form, "SHA-256": model.source.sha256}
        facts |= {key: model.source.metadata[key] for key in ("authors", "license", "source") if key in model.source.metadata}
    return facts
