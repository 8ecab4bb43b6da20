"""ONNX and ncnn files of other programs: with names, without names, and with changed graphs."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import span_arch
from span_arch import errors
from span_arch.archs.blocks import Conv3XC
from span_arch.archs.dscf import DSCF
from span_arch.archs.espan import ESPAN
from span_arch.archs.span import SPAN
from span_arch.archs.spanf import SPANF
from span_arch.archs.spanf3 import SPANF3
from span_arch.archs.spanplus import SPANPlus
from span_arch.archs.spanv2 import SPANV2

onnx: Any = pytest.importorskip("onnx")

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "SPAN": lambda: SPAN(feature_channels=8, blocks=3, scale=2),
    "SPAN without normalisation": lambda: SPAN(feature_channels=8, blocks=1, cat_channels=5, normalisation=None),
    "SPANF": lambda: SPANF(feature_channels=8, blocks=3),
    "SPANF with a narrow tail": lambda: SPANF(feature_channels=8, blocks=3, cat_channels=5),
    "SPANV2": lambda: SPANV2(feature_channels=8, blocks=3, scale=2),
    "DSCF": lambda: DSCF(feature_channels=8, blocks=3, scale=2),
    "ESPAN": lambda: ESPAN(feature_channels=8, blocks=2, scale=2),
    "SPANPlus": lambda: SPANPlus(feature_channels=8, blocks=(2,), upsampler="ps", scale=3),
    "SPANPlus of scale 1": lambda: SPANPlus(feature_channels=8, blocks=(1,), scale=1, upsampler="conv"),
    "SPANF3": lambda: SPANF3(feature_channels=8, blocks=2),
}


def export(network: nn.Module, path: Path, **options: Any) -> nn.Module:
    """Export a network with PyTorch's exporter alone, and return it."""
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network.eval(), (torch.rand(1, 3, 16, 16),), path, dynamo=True, **options)
    return network


def forget_names(path: Path, *, nodes: bool) -> None:
    """Number the initialisers, and optionally the nodes, as optimisers do."""
    model = onnx.load(path)
    numbers = {tensor.name: f"onnx::Conv_{i}" for i, tensor in enumerate(model.graph.initializer)}
    paths = {}
    for tensor in model.graph.initializer:
        paths[numbers[tensor.name]] = tensor.name
        tensor.name = numbers[tensor.name]
    for i, node in enumerate(model.graph.node):
        for j, name in enumerate(node.input):
            node.input[j] = numbers.get(name, name)
        node.name = f"node_{i}"
        if not nodes and node.op_type == "Conv":
            node.name = "/" + paths[node.input[1]].removesuffix(".weight").replace(".", "/") + "/Conv"
    onnx.save(model, path)


def assert_same(model: span_arch.FamilyModel, network: nn.Module) -> None:
    image = torch.rand(1, 3, 9, 7)
    with torch.no_grad():
        torch.testing.assert_close(model.model(image), network(image), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("inside", [True, False], ids=["weights inside", "weights in another file"])
def test_file_of_pytorchs_exporter_is_loaded(tmp_path: Path, inside: bool) -> None:
    network = export(SPAN(feature_channels=8, blocks=2, scale=2), tmp_path / "a.onnx", external_data=not inside)
    assert (tmp_path / "a.onnx.data").exists() is not inside
    model = span_arch.load(tmp_path / "a.onnx", bounded=False)
    assert_same(model, network)
    assert model.normalisation_known == "stated in the graph"


def test_exported_part_of_a_module_and_training_form_are_loaded(tmp_path: Path) -> None:
    network = export(
        nn.ModuleDict({"net": SPAN(feature_channels=4, blocks=2, normalisation=None, conv=Conv3XC)})["net"], tmp_path / "a.onnx"
    )
    assert_same(span_arch.load(tmp_path / "a.onnx", bounded=False), network)
    network = export(nn.Sequential(SPANPlus(feature_channels=4, blocks=(1,), upsampler="ps")), tmp_path / "b.onnx")
    assert_same(span_arch.load(tmp_path / "b.onnx", bounded=False), network)


@pytest.mark.parametrize("nodes", [False, True], ids=["weights lose names", "weights and nodes lose names"])
@pytest.mark.parametrize("name", NETWORKS)
def test_lost_names_are_found_again(name: str, nodes: bool, tmp_path: Path) -> None:
    network = export(NETWORKS[name](), tmp_path / "a.onnx", external_data=False)
    forget_names(tmp_path / "a.onnx", nodes=nodes)
    model = span_arch.load(tmp_path / "a.onnx", bounded=False)
    assert model.record.name == name.split()[0]
    assert_same(model, network)


def test_graph_without_names_of_another_network_is_refused(tmp_path: Path) -> None:
    export(nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(4))), tmp_path / "few.onnx", external_data=False)
    with pytest.raises(errors.UnknownArchitectureError, match="4 convolutions are not those"):
        span_arch.load(tmp_path / "few.onnx")
    layers = [nn.Conv2d(3 if i == 0 else 8, 3 if i == 12 else 8, 3, padding=1) for i in range(13)]  # the number of a SPAN of three blocks
    export(nn.Sequential(*layers), tmp_path / "chain.onnx", external_data=False)
    with pytest.raises(errors.UnknownArchitectureError, match="as many convolutions as"):
        span_arch.load(tmp_path / "chain.onnx")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Swish      ", "Sigmoid    "),
        ("/block_2/Sub             1 1 /block_2/Sigmoid_output_0 /block_2/Sub_output_0 0=1 1=1 2=5.000000e-01",
         "/block_2/Sub             1 1 /block_2/Sigmoid_output_0 /block_2/Sub_output_0 0=1 1=1 2=4.000000e-01"),
        ("2=2.550000e+02", "2=1.000000e+00 1=1 0=2"),
    ],
    ids=["activation", "constant", "range"],
)  # fmt: skip
def test_changed_graph_is_not_loaded_as_the_original(old: str, new: str, ncnn_folder: Path, tmp_path: Path) -> None:
    source = ncnn_folder / "models" / "spanx2_ch48"
    text = source.with_suffix(".param").read_text()
    assert old in text
    (tmp_path / "a.param").write_text(text.replace(old, new, 1))
    (tmp_path / "a.bin").write_bytes(source.with_suffix(".bin").read_bytes())
    if "2.55" in old:  # another range is a valid network of its own
        assert span_arch.load(tmp_path / "a.param").normalisation.range == 1
        return
    with pytest.raises(errors.BrokenCheckpointError, match="gives another result"):
        span_arch.load(tmp_path / "a.param")


def test_ncnn_pair_with_numbered_layers_is_loaded(ncnn_folder: Path, tmp_path: Path) -> None:
    source = ncnn_folder / "models" / "4xSPANkendata"
    lines = source.with_suffix(".param").read_text().splitlines()
    numbered = [re.sub(r"^(Convolution\s+)\S+", rf"\g<1>conv_{i}", line) for i, line in enumerate(lines)]
    (tmp_path / "a.param").write_text("\n".join(numbered))
    (tmp_path / "a.bin").write_bytes(source.with_suffix(".bin").read_bytes())
    found, truth = span_arch.load(tmp_path / "a.param"), span_arch.load(source.with_suffix(".param"))
    assert found.hyperparameters == truth.hyperparameters
    assert found.normalisation == truth.normalisation
    assert all(map(torch.equal, found.model.state_dict().values(), truth.model.state_dict().values()))
