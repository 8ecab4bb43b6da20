"""The fused attention kernel: that it computes the attention, and which networks receive it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from spandrel import architectures
from torch import Tensor, nn

from span_arch.archs.blocks import SPAB, ParameterFreeAttention, attention
from span_arch.archs.dscf import DSCF
from span_arch.archs.espan import ESPAN
from span_arch.archs.span import SPAN
from span_arch.archs.spanplus import SPANPlus
from span_arch.engine import kernels

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def jiterator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[..., Tensor]], None]]:
    """Return a function that puts something in the place of torch's compiler of kernels."""
    kernels.fused_attention.cache_clear()
    yield lambda made: monkeypatch.setattr(torch.cuda.jiterator, "_create_jit_fn", lambda code: made)
    kernels.fused_attention.cache_clear()


def evaluate(t: Tensor, x: Tensor) -> Tensor:
    """Compute what the text of the kernel says."""
    (formula,) = re.findall(r"return (.+?);", kernels.KERNEL)
    return eval(re.sub(r"T\(([\d.]+)\)", r"\1", formula), {"exp": torch.exp, "t": t, "x": x})  # noqa: S307


def test_kernel_computes_the_attention(jiterator: Callable[[Callable[..., Tensor]], None]) -> None:
    jiterator(evaluate)
    assert kernels.fused_attention(CPU, torch.float32) is evaluate
    t, x = torch.randn(2, 3, 4, 5, 6).double()
    torch.testing.assert_close(evaluate(t, x), attention(t, x))


def test_kernel_that_fails_or_computes_something_else_is_not_used(jiterator: Callable[[Callable[..., Tensor]], None]) -> None:
    def fail(t: Tensor, x: Tensor) -> Tensor:
        raise RuntimeError("nvrtc: error: invalid value for --gpu-architecture")

    for made in (fail, lambda t, x: attention(x, t), lambda t, x: t):
        jiterator(made)
        kernels.fused_attention.cache_clear()
        assert kernels.fused_attention(CPU, torch.float32) is attention


@pytest.mark.parametrize(
    ("network", "blocks"),
    [
        (SPAN(feature_channels=8, blocks=2), 2),
        (ESPAN(feature_channels=8, blocks=2), 3),
        (DSCF(feature_channels=8, blocks=3), 3),
        (SPANPlus(feature_channels=8, blocks=(2,), upsampler="ps"), 4),
    ],
    ids=["SPAN", "ESPAN", "DSCF", "SPANPlus"],
)
def test_every_attention_block_of_the_family_uses_the_kernel(network: nn.Module, blocks: int) -> None:
    calls: list[int] = []

    def count(t: Tensor, x: Tensor) -> Tensor:
        calls.append(1)
        return attention(t, x)

    image = torch.rand(1, 3, 8, 8)
    before = network(image)
    kernels.fuse_attention(network, CUDA, torch.float16, lambda device, dtype: count)
    torch.testing.assert_close(network(image), before)
    assert len(calls) == blocks
    assert SPAB.attend is attention


# Networks of other families

_ARGUMENTS: dict[str, dict[str, Any]] = {
    "AuraSR": {"dim": 8, "image_size": 64, "input_image_size": 16, "style_network": {"dim_in": 8, "dim_out": 8}},
    "DRCT": {"embed_dim": 12, "depths": (1,), "num_heads": (2,)},
    "Swin2SR": {"img_size": 56},
    "SwinIR": {"img_size": 56},
    "MMRealSR": {"num_in_ch": 3, "num_out_ch": 3},
    "SAFMN": {"dim": 36},
    "SAFMNBCIE": {"dim": 36},
    "SPAN": {"num_in_ch": 3, "num_out_ch": 3},
}
"""For networks whose defaults are missing, contradictory or slow."""

ARCHITECTURES = [module.name for module in pkgutil.iter_modules(architectures.__path__) if not module.name.startswith("_")]


def network_of(architecture: str) -> nn.Module:
    """Return a network of one of spandrel's architectures."""
    module = importlib.import_module(f"spandrel.architectures.{architecture}")
    network = next(value for value in vars(module).values() if inspect.isclass(value) and issubclass(value, nn.Module))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with torch.device("meta"):
                return network(**_ARGUMENTS.get(architecture, {}))
        except Exception:  # some read numbers off tensors while they are made
            return network(**_ARGUMENTS.get(architecture, {}))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_networks_of_other_families_stay_as_they_are(architecture: str) -> None:
    network = network_of(architecture)
    assert not any(isinstance(module, ParameterFreeAttention) for module in network.modules())
    children = {name: type(module) for name, module in network.named_modules()}
    kernels.fuse_attention(network, CUDA, torch.float16, lambda device, dtype: pytest.fail("it asked for the kernel"))
    assert {name: type(module) for name, module in network.named_modules()} == children


def test_some_other_networks_have_parts_of_the_same_name() -> None:
    """Parts called ``attend`` are what a check of names, rather than of types, would replace."""
    assert any(hasattr(module, "attend") for name in ("OmniSR", "AuraSR") for module in network_of(name).modules())
