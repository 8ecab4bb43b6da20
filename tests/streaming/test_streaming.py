"""Row streaming equals the whole image, for every network, size and height of strips."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spandrel.architectures.Compact import Compact
from spandrel.architectures.ESRGAN import ESRGAN
from torch import Tensor, nn

from span_arch.archs import span
from span_arch.archs.blocks import Conv3XC
from span_arch.archs.normalisation import PAPER
from span_arch.streaming import Plan, Stream, gather_weights, narrowed, plan_network

from ..variants import DSCF, ESPAN, SPAN, SPANF, SPANF3, SPANPLUS, SPANV2, randomise, variant
from .networks import Custom, conv, run_in_strips

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", autouse=True)
def no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


def randomised(network: nn.Module) -> nn.Module:
    randomise(network)
    return network.eval()


@dataclass(frozen=True)
class Sample:
    """A network, and the channels of its image."""

    network: nn.Module
    channels: int = 3


NETWORKS = {
    "SPAN": Sample(variant(SPAN, 3, 12, 2, 4, cat_channels=12, normalisation=PAPER).network()),
    "SPAN with fewer channels after its concatenation": Sample(variant(SPAN, 1, 8, 1, 3, cat_channels=5).network(), 1),
    "SPAN without a normalisation": Sample(randomised(span.SPAN(feature_channels=8, blocks=1, scale=2, normalisation=None))),
    "SPANF": Sample(variant(SPANF, 3, 8, 3, 4).network()),
    "SPANF of scale 1": Sample(variant(SPANF, 4, 8, 1, 1).network(), 4),
    "SPANF with a narrow tail": Sample(variant(SPANF, 3, 8, 3, 2, cat_channels=5, ending="_1").network()),
    "SPANV2": Sample(variant(SPANV2, 3, 8, 3, 4).network()),
    "SPANV2 with biases": Sample(variant(SPANV2, 1, 8, 2, 2, bias=True).network(), 1),
    "DSCF": Sample(variant(DSCF, 3, 8, 3, 2, normalisation=PAPER).network()),
    "ESPAN": Sample(variant(ESPAN, 3, 8, 2, 2).network()),
    "SPANPlus with a pixel shuffle": Sample(variant(SPANPLUS, 3, 8, (1, 2), 2, upsampler="ps").network()),
    "SPANPlus with a convolution": Sample(variant(SPANPLUS, 3, 8, (1,), 1, upsampler="conv").network()),
    "SPANF3": Sample(variant(SPANF3, 3, 8, 2, 4, unshuffle=1).network()),
    "SPANF3 on a grid of 2": Sample(variant(SPANF3, 3, 8, 2, 2, unshuffle=2).network()),
    "SPANF3 on a grid of 4": Sample(variant(SPANF3, 1, 8, 1, 1, unshuffle=4).network(), 1),
    "Compact": Sample(randomised(Compact(num_feat=8, num_conv=3, upscale=2))),
    "Compact with ReLU": Sample(randomised(Compact(num_feat=8, num_conv=2, upscale=3, act_type="relu"))),
    "Compact with a leaky ReLU": Sample(randomised(Compact(num_feat=8, num_conv=2, upscale=1, act_type="leakyrelu"))),
    "ESRGAN": Sample(randomised(ESRGAN(num_filters=8, num_blocks=1, scale=4))),
    "ESRGAN of scale 1": Sample(randomised(ESRGAN(num_filters=8, num_blocks=1, scale=1))),
    "Real-ESRGAN on a grid of 2": Sample(randomised(ESRGAN(in_nc=12, num_filters=8, num_blocks=1, scale=4, shuffle_factor=2))),
    "Real-ESRGAN on a grid of 4": Sample(randomised(ESRGAN(in_nc=48, num_filters=8, num_blocks=1, scale=4, shuffle_factor=4))),
    "ESRGAN+": Sample(randomised(ESRGAN(num_filters=8, num_blocks=1, scale=2, plus=True))),
    "one convolution used in several places": Sample(Custom(lambda self, x: self.conv(self.conv(self.conv(x)).relu()), conv=conv())),
    "a concatenation of convolutions alone": Sample(
        Custom(lambda self, x: self.last(torch.cat([self.a(x), self.b(x)], 1)), a=conv(3, 8), b=conv(3, 8), last=conv(16, 3, 1))
    ),
    "tall kernels": Sample(Custom(lambda self, x: self.conv(x), conv=conv(3, 4, (5, 3), dilation=(2, 1)))),
}

every_network = pytest.mark.parametrize("name", NETWORKS)


def planned(sample: Sample, mixed: bool = False) -> Plan:
    found = plan_network(sample.network, sample.channels)
    assert found is not None
    return narrowed(found) if mixed else found


def streamed(sample: Sample, image: Tensor, strip: int, mixed: bool = False) -> Tensor:
    return run_in_strips(planned(sample, mixed), sample.network, image, strip)


def image_for(sample: Sample, height: int, width: int) -> Tensor:
    """Return a random image with sides that are rounded up to what the network needs."""
    torch.manual_seed(1)
    unit = math.lcm(planned(sample).unit, planned(sample).multiple)
    return torch.rand(1, sample.channels, math.ceil(height / unit) * unit, math.ceil(width / unit) * unit)


def assert_close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Check that the largest difference is at most this share of the expected range."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= tolerance * max(expected.max() - expected.min(), expected.abs().max())


@every_network
@pytest.mark.parametrize("strip", [1, 2, 5, 19, 64, 1000])
def test_strips_of_any_height_equal_the_whole_image(name: str, strip: int) -> None:
    sample = NETWORKS[name]
    image = image_for(sample, 53, 17)
    assert_close(streamed(sample, image, strip), sample.network(image.clone()))


@settings(max_examples=60)
@given(st.sampled_from(sorted(NETWORKS)), st.integers(1, 70), st.integers(1, 20), st.integers(1, 64))
def test_images_of_any_size_equal_the_whole_image(name: str, height: int, width: int, strip: int) -> None:
    sample = NETWORKS[name]
    image = image_for(sample, height, width)
    assert_close(streamed(sample, image, strip), sample.network(image.clone()))


@every_network
def test_narrow_values_change_the_result_little(name: str) -> None:
    sample = NETWORKS[name]
    image = image_for(sample, 40, 24)
    expected = sample.network(image.clone())
    found = streamed(sample, image, 8, mixed=True)
    assert found.dtype is torch.float32
    assert_close(found, expected, 0.02)
    if planned(sample, mixed=True).values != planned(sample).values:
        assert (found - expected).abs().max() > 0


def test_an_image_leaves_nothing_behind_for_the_next() -> None:
    sample = NETWORKS["SPAN"]
    made, device = planned(sample), torch.device("cpu")
    stream = Stream(made, gather_weights(made, sample.network, device, torch.float32, torch.bfloat16), 30, 20, 7, device)
    first, second = torch.rand(2, 1, 3, 30, 20)
    next(stream(second))  # abandoned after its first strip
    for image in (first, second):
        assert_close(torch.cat([rows.clone() for rows in stream(image)], 2), sample.network(image))


def test_image_and_network_are_not_changed() -> None:
    for sample in NETWORKS.values():
        image = image_for(sample, 20, 12)
        original = image.clone()
        before = {key: tensor.clone() for key, tensor in sample.network.state_dict().items()}
        streamed(sample, image, 6)
        streamed(sample, image, 1000, mixed=True)
        assert torch.equal(image, original)
        assert all(torch.equal(tensor, before[key]) for key, tensor in sample.network.state_dict().items())


REFUSED = {
    "DySample": variant(SPANPLUS, 3, 8, (1,), 2, upsampler="dys").network(),
    "branches": randomised(span.SPAN(feature_channels=8, blocks=1, scale=2, conv=Conv3XC)),
    "a mirrored border": nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"),
    "no border": nn.Conv2d(3, 3, 3),
    "a wide border": nn.Conv2d(3, 3, 3, padding=2),
    "a stride": nn.Conv2d(3, 3, 3, padding=1, stride=2),
    "an even kernel": nn.Conv2d(3, 3, 2, padding="same"),
    "a smooth resize": nn.Upsample(scale_factor=2, mode="bilinear"),
    "a size in pixels": nn.Upsample(size=(8, 8)),
    "pooling": nn.AvgPool2d(2),
    "other channels than those of the image": conv(4, 4),
    "a global mean": Custom(lambda self, x: x * x.mean((2, 3), keepdim=True)),
    "a concatenation along the rows": Custom(lambda self, x: torch.cat([x, x], 2)),
    "a weight for each pixel": Custom(lambda self, x: x * self.conv.weight, conv=nn.Conv2d(8, 3, 3)),
    "a computed constant": Custom(lambda self, x: x * self.conv.weight.view(1, 3, 1, 1), conv=nn.Conv2d(1, 3, 1)),
    "values of different sizes": Custom(lambda self, x: x + nn.functional.pixel_shuffle(self.conv(x), 2), conv=nn.Conv2d(3, 12, 1)),
    "a constant": Custom(lambda self, x: self.conv.weight, conv=nn.Conv2d(1, 1, 1)),
    "a decision": Custom(lambda self, x: x if x.sum() > 0 else -x),
    "a decision on a size": Custom(lambda self, x: x if x.shape[2] > 8 else -x),
    "a crop": Custom(lambda self, x: x[:, :, 1:]),
    "a crop to a number of rows": Custom(lambda self, x: x[:, :, :8]),
    "a crop to half of the rows": Custom(
        lambda self, x: nn.functional.pixel_shuffle(self.conv(x), 2)[:, :, : x.shape[2]], conv=nn.Conv2d(3, 12, 1)
    ),
    "a crop along the other axis": Custom(lambda self, x: x[:, :, : x.size()[3]]),
    "a part of the channels": Custom(lambda self, x: x[:, 1:]),
    "a chunk of the channels": Custom(lambda self, x: x.chunk(3, 1)[0]),
    "a type of its own": Custom(lambda self, x: self.conv(x).float(), conv=conv()),
    "a size as a value": Custom(lambda self, x: x * x.shape[2]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_networks_that_cannot_be_streamed_are_refused(name: str) -> None:
    assert plan_network(REFUSED[name], 3) is None
