"""Every way in which trainers and tools wrap a network leads to the same network."""

from __future__ import annotations

import pickle
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

import span_arch
from span_arch import describe, errors
from span_arch.archs.blocks import Conv3XC
from span_arch.archs.span import SPAN
from span_arch.archs.spanv2 import SPANV2
from span_arch.checkpoints.clean import group_tensors
from span_arch.models.wrapped_networks import find_network

State = dict[str, torch.Tensor]

pytestmark = pytest.mark.usefixtures("one_thread")


def network(seed: int = 0) -> SPAN:
    torch.manual_seed(seed)
    return SPAN(feature_channels=4, blocks=2, scale=2, normalisation=None, conv=Conv3XC).eval()


def state(seed: int = 0) -> State:
    return network(seed).state_dict()


def other() -> State:
    """Return the state dict of the same network with other weights."""
    return state(1)


def prefixed(prefix: str, tensors: State) -> State:
    return {f"{prefix}{key}": tensor for key, tensor in tensors.items()}


def discriminator() -> State:
    return {"conv0.weight": torch.zeros(8, 3, 3, 3), "conv0.bias": torch.zeros(8)}


def counted(tensors: State) -> State:
    """Return a state dict as thop leaves it, with counters in every module."""
    modules = {key.rpartition(".")[0] for key in tensors}
    counters = {f"{module}.{name}": torch.zeros(1, dtype=torch.float64) for module in modules for name in ("total_ops", "total_params")}
    return {**tensors, **counters, "total_ops": torch.zeros(1), "total_params": torch.zeros(1)}


def optimiser(tensors: State) -> dict[str, object]:
    adam = {i: {"step": torch.tensor(3.0), "exp_avg": tensor, "exp_avg_sq": tensor} for i, tensor in enumerate(tensors.values())}
    return {"state": adam, "param_groups": [{"lr": 0.1, "params": list(adam)}]}


def averaged(tensors: State) -> State:
    return {"n_averaged": torch.tensor(7), **prefixed("module.", tensors)}


NUMBER = torch.tensor(3)
LAYOUTS: dict[str, Callable[[State], object]] = {
    "bare": lambda s: s,
    "params": lambda s: {"params": s},
    "params_ema": lambda s: {"params": other(), "params_ema": s},
    "an empty params_ema": lambda s: {"params_ema": {}, "params": s},
    "no params_ema": lambda s: {"params_ema": None, "params": s},
    "state_dict with training state": lambda s: {"state_dict": s, "optimizer": optimiser(s), "epoch": 7},
    "model": lambda s: {"model": s, "iteration": 3},
    "DataParallel": lambda s: prefixed("module.", s),
    "torch.compile": lambda s: prefixed("_orig_mod.", s),
    "torch.compile in params_ema": lambda s: {"params": other(), "params_ema": prefixed("_orig_mod.", s)},
    "torch.compile of DataParallel": lambda s: prefixed("_orig_mod.module.", s),
    "DataParallel of torch.compile": lambda s: prefixed("module._orig_mod.", s),
    "AveragedModel": averaged,
    "AveragedModel next to its model": lambda s: {"model": other(), "swa_state": averaged(s)},
    "AveragedModel under any name": lambda s: {"first": other(), "second": averaged(s)},
    "ema-pytorch": lambda s: {
        "initted": NUMBER, "step": NUMBER, **prefixed("online_model.", other()), **prefixed("ema_model.", s),
    },
    "Lightning, model": lambda s: {"state_dict": {**prefixed("model.", s), **prefixed("loss.vgg.", discriminator())}, "loops": {}},
    "Lightning, net": lambda s: {"state_dict": prefixed("net.", s), "pytorch-lightning_version": "2.0"},
    "net_g": lambda s: prefixed("net_g.", s),
    "netG": lambda s: {"netG": s, "netD": discriminator()},
    "generator": lambda s: {**prefixed("generator.", s), **prefixed("discriminator.", discriminator())},
    "a GAN of two networks of the family": lambda s: {"net_d": other(), "net_g": s},
    "a GAN with an average": lambda s: {"net_g": other(), "net_d": other(), "net_g_ema": s},
    "a GAN whose discriminator has an average": lambda s: {"net_d_ema": other(), "weights": s},
    "thop": counted,
    "thop in DataParallel": lambda s: prefixed("module.", counted(s)),
    "a mean": lambda s: {**s, "mean": torch.tensor([0.4488, 0.4371, 0.4040]).view(1, 3, 1, 1)},
    "without fused copies": lambda s: {key: tensor for key, tensor in s.items() if ".eval_conv." not in key},
    "parameters": lambda s: {key: nn.Parameter(tensor) for key, tensor in s.items()},
    "NumPy arrays": lambda s: {key: tensor.numpy() for key, tensor in s.items()},
    "NumPy arrays and numbers in params": lambda s: {"params": {k: t.numpy() for k, t in s.items()}, "iter": np.int64(3)},
    "float64": lambda s: {key: tensor.double() for key, tensor in s.items()},
    "dicts within dicts": lambda s: {"checkpoint": {"states": {"model": {"params": prefixed("module.net.", s)}}}},
    "a list": lambda s: {"models": [s, discriminator()]},
    "the same twice": lambda s: {"params": s, "last": dict(s)},
    "an optimiser that names its weights": lambda s: {"optimizer": {"exp_avg": other()}, "weights": s},
}  # fmt: skip


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_network(layout: str, zipped: bool, tmp_path: Path) -> None:
    torch.save(LAYOUTS[layout](state()), tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert_is(span_arch.load(tmp_path / "a.pth", normalise="none"), state())


def assert_is(model: span_arch.FamilyModel, tensors: State) -> None:
    expected = span_arch.from_state_dict(tensors).model.state_dict()
    for key, tensor in model.model.state_dict().items():
        torch.testing.assert_close(tensor, expected[key])


NAMES = st.sampled_from(["module", "_orig_mod", "model", "net", "params", "state_dict", "student", "x.y", "7"])


@given(st.lists(st.tuples(st.booleans(), NAMES), max_size=6), st.booleans(), st.booleans())
def test_wrappers_nest_in_any_order(wrappers: list[tuple[bool, str]], counters: bool, average: bool) -> None:
    wrapped: dict[str, object] = dict(counted(state()) if counters else state())
    for is_dict, name in wrappers:
        flat = all(isinstance(value, torch.Tensor) for value in wrapped.values())
        wrapped = {name: wrapped, "epoch": 3} if is_dict or not flat else {f"{name}.{key}": value for key, value in wrapped.items()}
    if average:
        wrapped = {"a": other(), "ema": wrapped}
    found = find_network(group_tensors(wrapped), "The file")
    assert found is not None
    assert all(torch.equal(found.state[key], tensor) for key, tensor in state().items())
    assert found.state.keys() == state().keys()
    assert found.others == (("a",) if average else ())


class Holder(nn.Module):
    """A module that TorchScript can compile, with the parameters of another."""

    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        for name, parameter in source.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        for name, child in source.named_children():
            self.add_module(name, Holder(child))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


PROGRAMS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "script": lambda source: torch.jit.script(Holder(source)),
    "trace": lambda source: torch.jit.trace(source, torch.rand(1, 3, 8, 8)),
    "trace of a wrapper": lambda source: torch.jit.trace(nn.Sequential(source), torch.rand(1, 3, 8, 8)),
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("source", [network(), SPANV2(feature_channels=4, blocks=2, scale=2).eval()], ids=["SPAN", "SPANV2"])
def test_torchscript_programs_give_their_weights(program: str, source: nn.Module, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about TorchScript being deprecated
        torch.jit.save(PROGRAMS[program](source), str(tmp_path / "a.pt"))
    model = span_arch.load(tmp_path / "a.pt", normalise="none" if isinstance(source, SPAN) else "auto")
    assert (model.record.name, model.source.container) == (type(source).__name__, "TorchScript")
    assert_is(model, source.state_dict())


@pytest.mark.parametrize("protocol", range(6))
def test_plain_pickles_of_arrays_load(protocol: int, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(pickle.dumps({key: tensor.numpy() for key, tensor in state().items()}, protocol))
    assert_is(span_arch.load(tmp_path / "a.pth"), state())


def test_the_network_that_is_taken_is_named(tmp_path: Path) -> None:
    torch.save({"net_g": prefixed("module.", other()), "net_d": discriminator(), "net_g_ema": state()}, tmp_path / "a.pth")
    model = span_arch.load(tmp_path / "a.pth")
    assert model.source.network == "net_g_ema"
    assert "network in the file: net_g_ema (the file also holds net_g.module)" in str(describe(model)).replace("  ", " ")
    torch.save({"params": state()}, tmp_path / "b.pth")
    assert "network in the file" not in str(describe(span_arch.load(tmp_path / "b.pth")))


def test_two_networks_of_equal_standing_are_listed(tmp_path: Path) -> None:
    torch.save({"teacher": other(), "student": prefixed("module.", state())}, tmp_path / "a.pth")
    with pytest.raises(errors.CheckpointError, match=r"a\.pth holds 2 networks of equal standing: 'teacher', 'student\.module'"):
        span_arch.load(tmp_path / "a.pth")
    save_file({**prefixed("a.", other()), **prefixed("b.", state())}, tmp_path / "a.safetensors")
    with pytest.raises(errors.CheckpointError, match=r"'a', 'b'\. Expected one network"):
        span_arch.load(tmp_path / "a.safetensors")


def test_a_damaged_network_within_wrappers_is_reported(tmp_path: Path) -> None:
    torch.save({"net_g": prefixed("module.", {key: t for key, t in state().items() if "conv_cat" not in key})}, tmp_path / "a.pth")
    with pytest.raises(errors.UnknownArchitectureError, match=r"closest architecture is SPAN, but conv_cat\.weight is missing"):
        span_arch.load(tmp_path / "a.pth")


WRITERS: dict[str, Callable[[Path], object]] = {
    ".pth": lambda path: torch.save(state(), path),
    ".pth before 1.6": lambda path: torch.save(state(), path, _use_new_zipfile_serialization=False),
    ".safetensors": lambda path: save_file(state(), path),
}


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".ckpt", ".onnx", ".bin", ".param"])
@pytest.mark.parametrize("written", WRITERS)
def test_content_goes_before_the_suffix(written: str, suffix: str, tmp_path: Path) -> None:
    WRITERS[written](tmp_path / "file")
    (tmp_path / "file").rename(tmp_path / f"a{suffix}")
    assert_is(span_arch.load(tmp_path / f"a{suffix}"), state())


def test_an_onnx_file_with_another_suffix_is_read(tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    span_arch.save(span_arch.from_state_dict(state()), tmp_path / "a.onnx")
    shutil.copy(tmp_path / "a.onnx", tmp_path / "a.pth")
    assert span_arch.load(tmp_path / "a.pth").source.container == span_arch.load(tmp_path / "a.onnx").source.container
