"""The traced graph: every operation that one of its consumers knows, all of them know or refuse."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from span_arch import checkpoints
from span_arch.checkpoints.ncnn_writer import to_ncnn
from span_arch.errors import OptionError
from span_arch.streaming import plan_network
from span_arch.streaming.operations import Unsupported
from span_arch.streaming.pointwise import ACTIVATIONS, POINTWISE
from span_arch.streaming.receptive_field import ReceptiveField, find_receptive_field
from span_arch.streaming.traced_graph import trace

from .networks import Custom, conv, run_in_strips


@pytest.fixture(scope="module", autouse=True)
def no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


CALLS: dict[str, Callable[[Custom, Tensor], Tensor]] = {
    "add": lambda self, x: self.other(x) + x,
    "sub": lambda self, x: 0.5 - x,
    "mul": lambda self, x: x * x.sigmoid(),
    "div": lambda self, x: x / 1.5,
    "neg": lambda self, x: -x,
    "sigmoid": lambda self, x: torch.sigmoid(x),
    "tanh": lambda self, x: x.tanh(),
    "clamp": lambda self, x: x.clamp(-0.5, max=0.5),
    "maximum": lambda self, x: torch.maximum(x, x.tanh()),
    "minimum": lambda self, x: torch.minimum(x, 0.1 * x),
    "relu": lambda self, x: F.relu(x),
    "silu": lambda self, x: F.silu(x),
    "mish": lambda self, x: F.mish(x),
    "gelu": lambda self, x: F.gelu(x, approximate="tanh"),
    "leaky_relu": lambda self, x: F.leaky_relu(x, 0.2),
    "elu": lambda self, x: F.elu(x, alpha=0.7),
    "hardtanh": lambda self, x: F.hardtanh(x, -0.3, 0.4),
    "hardswish": lambda self, x: F.hardswish(x),
    "hardsigmoid": lambda self, x: F.hardsigmoid(x),
    "softplus": lambda self, x: F.softplus(x, beta=2),
    "prelu": lambda self, x: F.prelu(x, self.prelu.weight),
}
WRITTEN_BY_NCNN = {"add", "sub", "maximum", "minimum", "mul", "div", "sigmoid", "tanh", "relu", "silu", "mish"}


def check_consumers(network: nn.Module, function: str, radius: int, folder: Path) -> None:
    """Check that streaming and ncnn compute what the network computes, and that its receptive field is known."""
    image = torch.rand(1, 3, 19, 9)
    expected = network(image.clone())
    plan = plan_network(network, 3)
    assert plan is not None
    torch.testing.assert_close(run_in_strips(plan, network, image, 4), expected, atol=1e-5, rtol=1e-5)
    assert find_receptive_field(network) == ReceptiveField(radius, unit=1)
    if function not in WRITTEN_BY_NCNN:
        with pytest.raises(OptionError, match=rf"ncnn has no layer for \w+ \({function}\)"):
            to_ncnn(network, torch.float32)
        return
    text, weights = to_ncnn(network, torch.float32)
    (folder / "a.param").write_text(text)
    (folder / "a.bin").write_bytes(weights)
    graph = checkpoints.read(folder / "a.param").graph
    assert graph is not None
    torch.testing.assert_close(graph.run(image), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("function", POINTWISE)
def test_every_pointwise_function_is_known_to_all_consumers(function: str, tmp_path: Path) -> None:
    call = CALLS[function]
    others = {"other": conv(4, 4), "prelu": nn.PReLU(1)}
    network = Custom(lambda self, x: self.last(call(self, self.first(x))), first=conv(3, 4), last=conv(4, 3), **others)
    check_consumers(network, function, 3 if function == "add" else 2, tmp_path)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda kind: kind.__name__)
def test_every_activation_module_is_known_to_all_consumers(activation: type[nn.Module], tmp_path: Path) -> None:
    module = nn.PReLU(4) if activation is nn.PReLU else activation()
    network = Custom(lambda self, x: self.last(self.act(self.first(x))), first=conv(3, 4), act=module, last=conv(4, 3))
    check_consumers(network, ACTIVATIONS[activation][0], 2, tmp_path)


IN_PLACE: dict[str, Callable[[Custom, Tensor], object]] = {
    "keyword": lambda self, y: F.relu(y, inplace=True),
    "position": lambda self, y: F.elu(y, 0.7, True),
    "method": lambda self, y: y.mul_(3),
    "operator": lambda self, y: operator.imul(y, 3),
    "function": lambda self, y: torch.sigmoid_(y),
    "module": lambda self, y: self.act(y),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_later_operations_read_what_was_changed_in_place(name: str) -> None:
    def forward(self: Custom, x: Tensor) -> Tensor:
        y = self.conv(x)
        z = y + 1
        IN_PLACE[name](self, y)
        return torch.cat([y, z, 0.5 - y], dim=1) / 2

    network = Custom(forward, conv=conv(3, 4, (5, 3)), act=nn.ReLU(inplace=True))
    plan, image = plan_network(network, 3), torch.rand(1, 3, 23, 9)
    assert plan is not None
    torch.testing.assert_close(run_in_strips(plan, network, image, 4), network(image), atol=1e-5, rtol=1e-5)


def test_reach_of_a_value_added_in_place_counts() -> None:
    def forward(self: Custom, x: Tensor) -> Tensor:
        y = self.near(x)
        y.add_(self.far(x))
        return y

    assert find_receptive_field(Custom(forward, near=conv(), far=conv(3, 3, 9))) == ReceptiveField(4, unit=1)


UNKNOWN: dict[str, tuple[Callable[[Custom, Tensor], Tensor], str]] = {
    "part changed in place": (lambda self, x: x.chunk(3, 1)[0].mul_(2) + x, "changes part of a value in place"),
    "copy changed in place": (lambda self, x: x.clone().mul_(2) + x, "changes part of a value in place"),
    "unknown module": (lambda self, x: self.pool(x), r"pool \(AvgPool2d\) is not a known operation"),
    "unknown function": (lambda self, x: torch.fft.fft2(x), "fft_fft2 is not a known operation"),
    "unknown setting": (lambda self, x: torch.div(x, 2, rounding_mode="floor"), "settings that are not known"),
    "circular padding": (lambda self, x: F.pad(x, (1, 1, 1, 1), "circular"), "pads by .* in the mode circular"),
    "random values": (lambda self, x: F.dropout(x), "dropout is not a known operation"),
    "decision on pixels": (lambda self, x: x if x.sum() > 0 else -x, "cannot be traced"),
    "no image": (lambda self, x: self.last.weight, "as an image"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_operations_are_refused_with_a_reason(name: str) -> None:
    forward, reason = UNKNOWN[name]
    network = Custom(forward, pool=nn.AvgPool2d(2), last=conv())
    with pytest.raises(Unsupported, match=reason):
        trace(network)
    assert (plan_network(network, 3), find_receptive_field(network)) == (None, None)
    with pytest.raises(OptionError, match=reason):
        to_ncnn(network, torch.float32)


def test_tracing_leaves_the_attributes_of_a_network_alone() -> None:
    def forward(self: Custom, x: Tensor) -> Tensor:
        self.mean = self.mean.type_as(x)
        return self.conv(x - self.mean)

    network, image = Custom(forward, conv=conv()), torch.rand(1, 3, 8, 8)
    network.mean = torch.full((1, 3, 1, 1), 0.5)
    expected = network(image)
    plan = plan_network(network, 3)
    assert plan is not None
    assert torch.equal(network(image), expected)
    torch.testing.assert_close(run_in_strips(plan, network, image, 4), expected, atol=1e-6, rtol=1e-5)
