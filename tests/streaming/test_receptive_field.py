"""The receptive field is as large as what a network sees, and equals the halo of its plan."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from spandrel.architectures.Compact import Compact
from spandrel.architectures.ESRGAN import ESRGAN
from torch import Tensor, nn

from span_arch.archs.blocks import Conv3XC
from span_arch.models.spandrel_compat import CalledNetwork
from span_arch.streaming import plan_network
from span_arch.streaming.receptive_field import ReceptiveField, find_receptive_field

from ..variants import Variant, descriptor, every_trained_variant, every_variant
from .networks import Custom, conv

pytestmark = pytest.mark.usefixtures("one_thread")


def measured_radius(network: nn.Module, channels: int, field: ReceptiveField) -> int:
    """Return how far the NaN of one pixel spreads from a piece of the image to other pieces, with edges at multiples of the unit."""
    unit = field.unit
    before = field.radius + 2 * unit
    radius = 0
    for place in {before, before + unit - 1}:
        image = torch.zeros(1, channels, 2 * before + unit, 2 * before + unit, dtype=torch.float64)
        image[..., place, place] = torch.nan
        with torch.no_grad():
            result = network.double().eval()(image)  # in float64, no fast algorithm spreads it further
        hit = result.isnan().any(1)[0].nonzero() * image.shape[-1] // result.shape[-1]
        first, last = int(hit.min()) // unit * unit, int(hit.max()) // unit * unit + unit - 1
        radius = max(radius, place - (first + unit - 1), last - unit + 1 - place)
    return radius


def assert_tight(network: nn.Module, channels: int, field: ReceptiveField | None) -> None:
    """Check that the radius is as large as measured, and larger by less than its rounding."""
    assert field is not None
    measured = measured_radius(network, channels, field)
    assert measured <= field.radius <= math.ceil((measured + 1) / field.unit) * field.unit


@every_variant
def test_radius_is_the_measured_one_and_the_halo_of_the_plan(variant: Variant) -> None:
    network, channels = variant.network(), variant.hyperparameters["in_channels"]
    plan, field = plan_network(network, channels), find_receptive_field(network)
    if plan is None:
        assert field is None
        assert variant.hyperparameters["upsampler"] == "dys"
        return
    assert field == ReceptiveField(plan.halo, plan.unit)
    assert_tight(network, channels, field)


@every_trained_variant
def test_training_form_has_the_radius_of_the_fused_form(variant: Variant) -> None:
    assert find_receptive_field(variant.network(Conv3XC)) == find_receptive_field(variant.network())


@pytest.mark.parametrize(
    "network",
    [
        Compact(num_conv=4, num_feat=4, upscale=2),
        ESRGAN(num_filters=4, num_blocks=1, scale=4),
        ESRGAN(in_nc=12, num_filters=4, num_blocks=1, scale=4, shuffle_factor=2),
    ],
    ids=["Compact", "ESRGAN", "Real-ESRGAN on a grid of 2"],
)
def test_radius_of_other_networks_is_the_halo_of_the_plan(network: nn.Module) -> None:
    plan, field = plan_network(network.eval(), 3), find_receptive_field(network)
    assert plan is not None
    assert field == ReceptiveField(plan.halo, plan.unit)
    assert_tight(network, 3, field)


VALID = nn.Conv2d(3, 3, 5)
NOT_STREAMED: dict[str, tuple[Callable[[Custom, Tensor], Tensor], int]] = {
    "padding with zeros": (lambda self, x: self.valid(F.pad(x, (2, 2, 2, 2))), 2),
    "padding module": (lambda self, x: self.valid(self.pad(x)), 2),
    "padding with mirrored pixels": (lambda self, x: self.valid(F.pad(x, (2, 2, 2, 2), "reflect")), 2),
    "padding on one side": (lambda self, x: self.valid(F.pad(x, (4, 0, 4, 0))), 4),
    "cropped border": (lambda self, x: self.valid(F.pad(self.conv(x), (2, 2, 2, 2)))[:, :, : x.shape[2]], 3),
    "chunks": (lambda self, x: torch.cat([part * 2 for part in (x.chunk(3, 1)[0], self.conv(x).chunk(3, 1)[1], x)], 1), 1),
    "repeated channels": (lambda self, x: torch.repeat_interleave(self.conv(x), 2, 1), 1),
    "change of type": (lambda self, x: self.conv(x).float().to(torch.float64), 1),
    "computed constant": (lambda self, x: self.conv(x) * self.conv.bias.view(1, 3, 1, 1), 1),
    "mirroring convolution": (lambda self, x: self.mirror(x), 1),
}


@pytest.mark.parametrize("name", NOT_STREAMED)
def test_radius_is_known_for_operations_that_cannot_be_streamed(name: str) -> None:
    forward, radius = NOT_STREAMED[name]
    mirror = nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect")
    network = Custom(forward, valid=VALID, conv=conv(), mirror=mirror, pad=nn.ZeroPad2d(2))
    assert plan_network(network, 3) is None
    field = find_receptive_field(network)
    assert field is not None
    assert measured_radius(network, 3, field) == radius <= field.radius
    assert field.radius == radius or "mirrored pixels" in name


@pytest.mark.parametrize(
    "network",
    [
        Custom(lambda self, x: x * x.mean((2, 3), keepdim=True)),
        nn.AvgPool2d(2),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.Conv2d(3, 3, 3, padding=1, padding_mode="circular"),
        nn.Conv2d(3, 3, 3, padding=1, stride=2),
    ],
    ids=["global mean", "pooling", "smooth resize", "circular padding", "stride"],
)
def test_radius_is_none_if_the_reach_is_not_known(network: nn.Module) -> None:
    assert find_receptive_field(network) is None


def test_call_of_a_model_counts() -> None:
    network = conv()
    model = descriptor(network, 1, call=lambda module, x: module(module(x)))
    assert find_receptive_field(CalledNetwork(model)) == ReceptiveField(2, unit=1)
    assert find_receptive_field(CalledNetwork(descriptor(network, 1, call=lambda module, x: module(x) * x.mean()))) is None
