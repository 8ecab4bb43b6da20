"""Row streaming: equal to the whole image, whatever the network, the size and the strips."""

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

from span_arch.archs import espan, span, spanf, spanf3, spanplus
from span_arch.archs.blocks import Conv3XC
from span_arch.archs.normalisation import PAPER
from span_arch.models.build import build_network
from span_arch.streaming import Plan, Stream, narrowed, plan, weights

CPU = torch.device("cpu")


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", autouse=True)
def no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


def randomised(network: nn.Module) -> nn.Module:
    """Weights of a size that lets every convolution have its say in the output."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3 if parameter.dim() == 1 else 0.8 * parameter[0].numel() ** -0.5)
    return network.eval()


def family(architecture: object, channels: int, features: int, blocks: object, scale: int, **others: object) -> nn.Module:
    normalisation = others.pop("normalisation", None)
    sizes = {"in_channels": channels, "out_channels": channels, "feature_channels": features, "blocks": blocks, "scale": scale}
    return randomised(build_network(architecture.ARCHITECTURE, {**sizes, **others}, normalisation))


@dataclass(frozen=True)
class Sample:
    """A network, and the channels of its image."""

    network: nn.Module
    channels: int = 3


NETWORKS = {
    "SPAN": Sample(family(span, 3, 12, 2, 4, cat_channels=12, normalisation=PAPER)),
    "SPAN with fewer channels after its concatenation": Sample(family(span, 1, 8, 1, 3, cat_channels=5), 1),
    "SPAN without a normalisation": Sample(randomised(span.SPAN(feature_channels=8, blocks=1, scale=2, normalisation=None))),
    "SPANF": Sample(family(spanf, 3, 8, 3, 4)),
    "SPANF that does not enlarge": Sample(family(spanf, 4, 8, 1, 1), 4),
    "ESPAN": Sample(family(espan, 3, 8, 2, 2)),
    "SPANPlus with a pixel shuffle": Sample(family(spanplus, 3, 8, (1, 2), 2, upsampler="ps")),
    "SPANPlus with a convolution": Sample(family(spanplus, 3, 8, (1,), 1, upsampler="conv")),
    "SPANF3": Sample(family(spanf3, 3, 8, 2, 4, unshuffle=1)),
    "SPANF3 on a grid of 2": Sample(family(spanf3, 3, 8, 2, 2, unshuffle=2)),
    "SPANF3 on a grid of 4": Sample(family(spanf3, 1, 8, 1, 1, unshuffle=4), 1),
    "Compact": Sample(randomised(Compact(num_feat=8, num_conv=3, upscale=2))),
    "Compact with ReLU": Sample(randomised(Compact(num_feat=8, num_conv=2, upscale=3, act_type="relu"))),
    "Compact with a leaky ReLU": Sample(randomised(Compact(num_feat=8, num_conv=2, upscale=1, act_type="leakyrelu"))),
    "ESRGAN": Sample(randomised(ESRGAN(num_filters=8, num_blocks=1, scale=4))),
    "ESRGAN that does not enlarge": Sample(randomised(ESRGAN(num_filters=8, num_blocks=1, scale=1))),
    "Real-ESRGAN on a grid of 2": Sample(randomised(ESRGAN(in_nc=12, num_filters=8, num_blocks=1, scale=4, shuffle_factor=2))),
    "Real-ESRGAN on a grid of 4": Sample(randomised(ESRGAN(in_nc=48, num_filters=8, num_blocks=1, scale=4, shuffle_factor=4))),
    "ESRGAN+": Sample(randomised(ESRGAN(num_filters=8, num_blocks=1, scale=2, plus=True))),
}

every_network = pytest.mark.parametrize("name", NETWORKS)


def planned(sample: Sample, mixed: bool = False) -> Plan:
    found = plan(sample.network, sample.channels)
    assert found is not None
    return narrowed(found) if mixed else found


def streamed(sample: Sample, image: Tensor, strip: int, mixed: bool = False) -> Tensor:
    made = planned(sample, mixed)
    gathered = weights(made, sample.network, CPU, torch.float32, torch.bfloat16)
    stream = Stream(made, gathered, image.shape[2], image.shape[3], strip, CPU)
    return torch.cat([rows.clone() for rows in stream(image)], 2)


def sample_image(sample: Sample, height: int, width: int) -> Tensor:
    torch.manual_seed(1)
    unit = math.lcm(planned(sample).unit, planned(sample).multiple)
    return torch.rand(1, sample.channels, -(-height // unit) * unit, -(-width // unit) * unit)


def assert_close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """The largest difference is within that share of the range of what is expected."""
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= tolerance * max(expected.max() - expected.min(), expected.abs().max())


@every_network
@pytest.mark.parametrize("strip", [1, 2, 5, 19, 64, 1000])
def test_strips_give_what_the_whole_image_gives(name: str, strip: int) -> None:
    sample = NETWORKS[name]
    image = sample_image(sample, 53, 17)
    assert_close(streamed(sample, image, strip), sample.network(image.clone()))


@settings(max_examples=60)
@given(st.sampled_from(sorted(NETWORKS)), st.integers(1, 70), st.integers(1, 20), st.integers(1, 64))
def test_of_any_size(name: str, height: int, width: int, strip: int) -> None:
    sample = NETWORKS[name]
    image = sample_image(sample, height, width)
    assert_close(streamed(sample, image, strip), sample.network(image.clone()))


@every_network
def test_a_narrow_type_changes_little(name: str) -> None:
    sample = NETWORKS[name]
    image = sample_image(sample, 40, 24)
    expected = sample.network(image.clone())
    found = streamed(sample, image, 8, mixed=True)
    assert found.dtype is torch.float32
    assert_close(found, expected, 0.02)
    if planned(sample, mixed=True).values != planned(sample).values:
        assert (found - expected).abs().max() > 0


def test_the_next_image_knows_nothing_of_the_last() -> None:
    sample = NETWORKS["SPAN"]
    made = planned(sample)
    stream = Stream(made, weights(made, sample.network, CPU, torch.float32, torch.bfloat16), 30, 20, 7, CPU)
    first, second = torch.rand(2, 1, 3, 30, 20)
    next(stream(second))  # and one that was not seen to its end
    for image in (first, second):
        assert_close(torch.cat([rows.clone() for rows in stream(image)], 2), sample.network(image))


def test_nothing_that_is_passed_in_is_written_into() -> None:
    for sample in NETWORKS.values():
        image = sample_image(sample, 20, 12)
        shown = image.clone()
        before = {key: tensor.clone() for key, tensor in sample.network.state_dict().items()}
        streamed(sample, image, 6)
        streamed(sample, image, 1000, mixed=True)
        assert torch.equal(image, shown)
        assert all(torch.equal(tensor, before[key]) for key, tensor in sample.network.state_dict().items())


class Odd(nn.Module):
    """A network that does as it is told."""

    def __init__(self, forward: object, **modules: nn.Module) -> None:
        super().__init__()
        self.told = forward
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        return self.told(self, x)


def test_what_is_done_in_place_is_seen_by_whoever_reads_it_later() -> None:
    def forward(self: Odd, x: Tensor) -> Tensor:
        y = self.conv(x)
        z = y + 1
        nn.functional.relu(y, inplace=True)
        y *= 3
        return torch.cat([y, z, 0.5 - y], dim=1) / 2

    sample = Sample(randomised(Odd(forward, conv=nn.Conv2d(3, 4, (5, 3), padding=(2, 1), dilation=1))))
    image = sample_image(sample, 23, 9)
    assert_close(streamed(sample, image, 4), sample.network(image))


REFUSED = {
    "DySample": family(spanplus, 3, 8, (1,), 2, upsampler="dys"),
    "branches": randomised(span.SPAN(feature_channels=8, blocks=1, scale=2, conv=Conv3XC)),
    "a mirrored border": nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"),
    "no border": nn.Conv2d(3, 3, 3),
    "a wide border": nn.Conv2d(3, 3, 3, padding=2),
    "a stride": nn.Conv2d(3, 3, 3, padding=1, stride=2),
    "an even kernel": nn.Conv2d(3, 3, 2, padding="same"),
    "a smooth resize": nn.Upsample(scale_factor=2, mode="bilinear"),
    "a size in pixels": nn.Upsample(size=(8, 8)),
    "pooling": nn.AvgPool2d(2),
    "a global mean": Odd(lambda self, x: x * x.mean((2, 3), keepdim=True)),
    "a sum along the rows": Odd(lambda self, x: torch.cat([x, x], 2)),
    "a weight for each pixel": Odd(lambda self, x: x * self.conv.weight, conv=nn.Conv2d(8, 3, 3)),
    "other grids at once": Odd(lambda self, x: x + nn.functional.pixel_shuffle(self.conv(x), 2), conv=nn.Conv2d(3, 12, 1)),
    "a constant": Odd(lambda self, x: self.conv.weight, conv=nn.Conv2d(1, 1, 1)),
    "a decision": Odd(lambda self, x: x if x.sum() > 0 else -x),
    "a decision on a size": Odd(lambda self, x: x if x.shape[2] > 8 else -x),
    "a crop": Odd(lambda self, x: x[:, :, 1:]),
    "a crop to a number of rows": Odd(lambda self, x: x[:, :, :8]),
    "a crop to half of the rows": Odd(
        lambda self, x: nn.functional.pixel_shuffle(self.conv(x), 2)[:, :, : x.shape[2]], conv=nn.Conv2d(3, 12, 1)
    ),
    "a crop along the other axis": Odd(lambda self, x: x[:, :, : x.size()[3]]),
    "a part of the channels": Odd(lambda self, x: x[:, 1:]),
    "a size as a value": Odd(lambda self, x: x * x.shape[2]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_streamed_is_refused(name: str) -> None:
    assert plan(REFUSED[name], 3) is None
