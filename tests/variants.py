"""Small networks of every architecture with random weights, which several test files share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from spandrel import ImageModelDescriptor
from torch import Tensor, nn

import span_arch
from span_arch.archs import dscf, espan, span, spanf, spanf3, spanplus, spanv2
from span_arch.archs.blocks import Conv3XC, ConvForm, FusedConv3XC
from span_arch.archs.normalisation import PAPER, Normalisation
from span_arch.archs.record import Architecture
from span_arch.models.build import Model, build_network


@dataclass(frozen=True)
class Variant:
    """A small network of an architecture."""

    record: Architecture
    hyperparameters: dict[str, Any]
    normalisation: Normalisation | None = None

    def __str__(self) -> str:
        values = (str(value).replace(" ", "") for value in self.hyperparameters.values())
        return f"{self.record.name}-{'-'.join(values)}{'-normalised' * (self.normalisation is not None)}"

    def network(self, conv: ConvForm = FusedConv3XC) -> nn.Module:
        network = build_network(self.record, self.hyperparameters, self.normalisation, conv)
        randomise(network)
        return network.eval()

    def image(self) -> Tensor:
        torch.manual_seed(1)
        return torch.rand(2, self.hyperparameters["in_channels"], 8, 12)


def randomise(network: nn.Module) -> None:
    """Set random weights, large enough that every convolution affects the output."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3 if parameter.dim() == 1 else 0.8 * parameter[0].numel() ** -0.5)


def variant(record: Architecture, channels: int, features: int, blocks: int | tuple[int, ...], scale: int, **others: Any) -> Variant:
    normalisation = others.pop("normalisation", None)
    out_channels = others.pop("out_channels", channels)
    sizes = {"in_channels": channels, "out_channels": out_channels, "feature_channels": features, "blocks": blocks, "scale": scale}
    return Variant(record, {**sizes, **others}, normalisation)


SPAN, SPANF, ESPAN = span.ARCHITECTURE, spanf.ARCHITECTURE, espan.ARCHITECTURE
SPANPLUS, SPANF3 = spanplus.ARCHITECTURE, spanf3.ARCHITECTURE
SPANV2, DSCF = spanv2.ARCHITECTURE, dscf.ARCHITECTURE

VARIANTS = (
    variant(SPAN, 3, 16, 6, 4, cat_channels=16, normalisation=PAPER),
    variant(SPAN, 3, 12, 2, 2, cat_channels=5, normalisation=PAPER),
    variant(SPAN, 1, 8, 1, 3, cat_channels=8),
    variant(SPAN, 4, 8, 3, 8, cat_channels=8),
    variant(SPAN, 3, 8, 11, 1, cat_channels=8),
    variant(SPANF, 3, 16, 5, 4, cat_channels=16, ending=""),
    variant(SPANF, 1, 8, 1, 3, cat_channels=8, ending=""),
    variant(SPANF, 4, 12, 2, 1, cat_channels=12, ending=""),
    variant(SPANF, 3, 8, 3, 2, cat_channels=5, ending=""),
    variant(SPANF, 3, 16, 5, 4, cat_channels=10, ending="_1"),
    variant(SPANF, 1, 8, 2, 8, cat_channels=8, ending="_1"),
    variant(SPANV2, 3, 16, 5, 4, bias=False),
    variant(SPANV2, 3, 8, 2, 2, bias=True),
    variant(SPANV2, 1, 8, 1, 3, bias=False),
    variant(SPANV2, 4, 12, 3, 1, bias=False),
    variant(SPANV2, 1, 8, 2, 8, bias=True),
    variant(DSCF, 3, 13, 6, 4, normalisation=PAPER),
    variant(DSCF, 3, 8, 2, 2, normalisation=PAPER),
    variant(DSCF, 3, 8, 1, 3, normalisation=PAPER),
    variant(ESPAN, 3, 16, 5, 4),
    variant(ESPAN, 1, 8, 1, 8),
    variant(ESPAN, 4, 12, 2, 2),
    variant(ESPAN, 3, 8, 2, 1),
    variant(ESPAN, 3, 8, 3, 3),
    variant(SPANPLUS, 3, 16, (4,), 4, upsampler="dys"),
    variant(SPANPLUS, 1, 8, (1, 2), 3, upsampler="dys"),
    variant(SPANPLUS, 3, 12, (0,), 2, upsampler="dys", out_channels=1),
    variant(SPANPLUS, 4, 8, (2,), 1, upsampler="dys"),
    variant(SPANPLUS, 3, 8, (2,), 8, upsampler="ps"),
    variant(SPANPLUS, 4, 8, (1, 1, 1), 2, upsampler="ps"),
    variant(SPANPLUS, 1, 8, (2,), 1, upsampler="ps"),
    variant(SPANPLUS, 3, 8, (2,), 1, upsampler="conv"),
    variant(SPANF3, 3, 16, 6, 4, unshuffle=1),
    variant(SPANF3, 1, 8, 1, 3, unshuffle=1),
    variant(SPANF3, 4, 8, 2, 8, unshuffle=1),
    variant(SPANF3, 3, 12, 2, 2, unshuffle=1),
    variant(SPANF3, 3, 12, 2, 2, unshuffle=2),
    variant(SPANF3, 3, 8, 2, 1, unshuffle=4),
    variant(SPANF3, 1, 8, 2, 1, unshuffle=4),
    variant(SPANF3, 4, 8, 2, 2, unshuffle=2),
)


def descriptor(network: nn.Module, scale: int = 2, call: Callable[[nn.Module, Tensor], Tensor] | None = None) -> Model:
    """Return a model, as another loader might give it, of any network for images of three channels."""
    architecture = span_arch.load("spanx2_ch48").architecture
    return ImageModelDescriptor(network.eval(), network.state_dict(), architecture, "SR", [], True, True, scale, 3, 3, call_fn=call)


def forms(variant: Variant) -> list[ConvForm]:
    """Return the forms that networks of this architecture are published in."""
    return [FusedConv3XC, Conv3XC] if variant.record.has_training_form else [FusedConv3XC]


every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=str)
every_trained_variant = pytest.mark.parametrize("variant", [v for v in VARIANTS if v.record.has_training_form], ids=str)


def assert_close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Check that the largest difference is at most this share of the expected range."""
    assert found.shape == expected.shape
    spread = expected.max() - expected.min()
    assert spread > 0
    assert (found - expected).abs().max() <= tolerance * spread
