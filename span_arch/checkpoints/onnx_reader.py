"""ONNX: a graph and its weights as one protocol buffer, or with the weights in a file beside it.

Read with the package ``onnx``, which is an extra. Where the initialisers have kept the attribute paths of the module that was
exported, those name them; else the names of the nodes do; a graph that has lost both is left to `structure`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._util.extras import require_extra
from ..archs.registry import detect
from ..errors import BrokenCheckpointError, CheckpointError, SpanArchError, UnsafeCheckpointError
from .checkpoint import Checkpoint
from .exported_graph import MAX_STEPS, Graph, Step
from .model_metadata import normalisation_in
from .ncnn_reader import attribute_path

_PATH = re.compile(r"\w+(\.\w+)+")
"""What the names of initialisers look like while they are attribute paths."""

_SHAPING = frozenset({
    "Cast", "CastLike", "Ceil", "Clip", "ConstantOfShape", "Equal", "Expand", "Flatten", "Floor", "Gather", "GridSample", "Mod", "Neg",
    "Pad", "Range", "ReduceSum", "Reshape", "SequenceAt", "Shape", "Slice", "Split", "SplitToSequence", "Squeeze", "Transpose",
    "Unsqueeze", "Where",
})  # fmt: skip
"""What exporters make of DySample, of padding and of a training form. Such graphs are read by their names, and not run."""

_MAX_WEIGHTS = 2**27
"""Half a gigabyte of them."""

_Node = Any  # the package has no types of its own for what it reads


def read_onnx(path: Path) -> Checkpoint:
    """Reads weights, metadata and, if it is of few enough kinds of operations, the graph.

    Raises:
        MissingExtraError: the package ``onnx`` is not installed.
        BrokenCheckpointError: it is no whole ONNX file, or its weights are not where it says.
        UnsafeCheckpointError: its weights are to be in a file outside its folder.
        CheckpointError: it has operations that no network of the family has.
    """
    onnx = require_extra("onnx", f"to read the ONNX file {path}")
    model: Any = None
    try:
        model = onnx.load(str(path), load_external_data=False)
        for what, count in (("operations", len(model.graph.node)), ("initialisers", len(model.graph.initializer))):
            if count > MAX_STEPS:
                raise ValueError(f"{count:,} {what}; no network of the SPAN family comes near")
        nodes, tensors = list(model.graph.node), list(_tensors(model.graph))
        if (weights := sum(math.prod(tensor.dims) for _, tensor in tensors)) > _MAX_WEIGHTS:
            raise ValueError(f"{weights:,} weights; no network of the SPAN family comes near")  # nor has its file, which many may share
        constants = {name: _tensor(onnx, tensor, path) for name, tensor in tensors}
        precision = _precision(onnx, max((tensor for _, tensor in tensors), key=lambda tensor: math.prod(tensor.dims), default=None))
        metadata = {str(entry.key): str(entry.value) for entry in model.metadata_props}
        graph, state = _graph(model.graph, constants, path), _state(nodes, constants)
    except SpanArchError:
        raise
    except Exception as error:  # protobuf and numpy meet damage in as many ways as there are
        raise _broken(path, error) from error
    if not nodes:
        raise _broken(path, ValueError("a graph without operations"))
    return Checkpoint(path, "ONNX", state, metadata, normalisation_in(path, metadata), graph, precision)


def _broken(path: Path, error: Exception) -> BrokenCheckpointError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return BrokenCheckpointError(
        f"'{path}' cannot be read as an ONNX file ({reason}); {path.stat().st_size:,} bytes are here. Most often a download broke off, or "
        "the file is of another kind and was renamed: download it again."
    )


def _precision(onnx: Any, tensor: Any) -> str:
    name = "" if tensor is None else onnx.TensorProto.DataType.Name(tensor.data_type).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def _tensors(graph: Any) -> Iterator[tuple[str, Any]]:
    yield from ((tensor.name, tensor) for tensor in graph.initializer)
    for node in graph.node:
        if node.op_type == "Constant" and node.output:
            yield from ((node.output[0], attribute.t) for attribute in node.attribute if attribute.name == "value")


def _tensor(onnx: Any, tensor: Any, path: Path) -> Tensor:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        _check_external({entry.key: entry.value for entry in tensor.external_data}, tensor.name, path)
    if any(size < 0 for size in tensor.dims):
        raise ValueError(f"'{tensor.name}' has the shape {list(tensor.dims)}")  # which numpy would take for whatever fits
    values: np.ndarray = onnx.numpy_helper.to_array(tensor, base_dir=str(path.absolute().parent))
    if values.dtype.name in ("float16", "float64", "bfloat16"):
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is told with its name
            values = values.astype(np.float32)
    return torch.from_numpy(np.array(values)) if values.dtype.kind in "fiub" else torch.zeros(0)


def _check_external(entry: Mapping[str, str], name: str, path: Path) -> None:
    location = entry.get("location", "")
    folder = path.absolute().parent.resolve()
    file = (folder / location).resolve()
    if not location or not file.is_relative_to(folder):
        raise UnsafeCheckpointError(
            f"'{path}' wants to read '{name}' from '{location}', which is outside its own folder. Nothing of it was read. Do not trust "
            "the file: get the network from its author."
        )
    if not file.is_file():
        raise BrokenCheckpointError(
            f"'{path}' keeps its weights in '{location}', and that file is not beside it. Both are needed: copy it into the same folder."
        )
    if int(entry.get("offset") or 0) + int(entry.get("length") or 0) > file.stat().st_size:
        raise BrokenCheckpointError(f"'{file}' ends within '{name}', which '{path}' keeps there. It is truncated: get both again.")


def _state(nodes: list[_Node], constants: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by attribute path, from the names of initialisers, or else of nodes; none at all where neither will do."""
    named = {name: tensor for name, tensor in constants.items() if _PATH.fullmatch(name) and tensor.is_floating_point()}
    if named and detect(named) is None:  # a network that was exported as a part of another module
        prefix = next(iter(named)).split(".")[0] + "."
        named = {name.removeprefix(prefix): tensor for name, tensor in named.items()}
    if detect(named) is not None:
        return named
    by_node: dict[str, Tensor] = {}
    for node in nodes:
        if node.op_type == "Conv":
            for kind, name in zip(("weight", "bias"), node.input[1:], strict=False):
                if name in constants:
                    by_node[f"{attribute_path(node.name)}.{kind}"] = constants[name]
    return by_node if detect(by_node) is not None else {}


def _graph(graph: Any, constants: Mapping[str, Tensor], path: Path) -> Graph | None:
    """The graph in our terms; None where it has operations that are known, but not run."""
    strangers = sorted({node.op_type for node in graph.node if not _known(node)})
    if strangers:
        raise CheckpointError(
            f"'{path}' has operations that no network of the SPAN family has ({', '.join(strangers[:4])}). It is a network of another "
            "architecture, or a quantised one: take the network's file that is not quantised."
        )
    if any(node.op_type in _SHAPING or node.domain.startswith("pkg.") for node in graph.node):
        return None
    inputs = [entry for entry in graph.input if entry.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ValueError(f"{len(inputs)} inputs and {len(graph.output)} outputs, where one of each is expected")
    steps = tuple(step for node in graph.node if node.op_type != "Constant" for step in _steps(node, constants, path))
    return Graph(inputs[0].name, graph.output[0].name, steps, constants)


def _known(node: _Node) -> bool:
    if node.domain.startswith("pkg."):  # functions of PyTorch's own, in which its exporter wrote graphs for a while
        return True
    return node.domain in ("", "ai.onnx") and (node.op_type in _STEPS or node.op_type in _SHAPING or node.op_type == "Constant")


def _steps(node: _Node, constants: Mapping[str, Tensor], path: Path) -> Iterator[Step]:
    attributes = {attribute.name: _value(attribute) for attribute in node.attribute}
    try:
        operation, settings = _STEPS[node.op_type](attributes, constants, node)
    except ValueError as error:
        raise CheckpointError(
            f"'{path}': the operation '{node.name}' ({node.op_type}) has settings that none of the SPAN family has ({error}). It is of "
            "another architecture, or damaged."
        ) from error
    yield Step(operation, tuple(name for name in node.input if name), node.output[0], node.name, settings)


def _value(attribute: Any) -> Any:
    """Of an attribute that is a number, a text or numbers: the kinds that `_STEPS` ask for."""
    return {1: attribute.f, 2: attribute.i, 3: attribute.s, 7: list(attribute.ints)}.get(attribute.type)


_Settings = tuple[str, dict[str, Any]]


def _convolution(attributes: Mapping[str, Any], constants: Mapping[str, Tensor], node: _Node) -> _Settings:
    weight = constants.get(node.input[1])
    if weight is None or weight.ndim != 4:
        raise ValueError("weights that are no constant of four axes")
    height, width = weight.shape[2:]
    if any(value != 1 for name in ("strides", "dilations") for value in attributes.get(name) or (1,)):
        raise ValueError("dilation or stride")
    if list(attributes.get("kernel_shape") or (height, width)) != [height, width]:
        raise ValueError(f"a kernel of {attributes['kernel_shape']} with weights of {height}x{width}")
    mode = attributes.get("auto_pad", b"NOTSET")
    if mode in (b"SAME_UPPER", b"SAME_LOWER"):
        padding = (height // 2, width // 2)
    elif mode == b"VALID":
        padding = (0, 0)
    else:
        top, left, bottom, right = attributes.get("pads") or (0, 0, 0, 0)
        padding = (top, left)
        if padding != (bottom, right) or not (0 <= top <= height and 0 <= left <= width):
            raise ValueError(f"padding {attributes.get('pads')}")
    return "conv", {"padding": padding, "groups": attributes.get("group", 1)}


def _concat(attributes: Mapping[str, Any], constants: Mapping[str, Tensor], node: _Node) -> _Settings:
    if attributes.get("axis") not in (1, -3):
        raise ValueError("an axis that is not that of channels")
    return "concat", {}


def _shuffle(attributes: Mapping[str, Any], constants: Mapping[str, Tensor], node: _Node) -> _Settings:
    factor = attributes.get("blocksize")
    if attributes.get("mode") != b"CRD" or not isinstance(factor, int) or not 1 <= factor <= 16:
        raise ValueError("order of channels")
    return "pixel shuffle", {"upscale_factor": factor}


def _simple(operation: str, **usual: float) -> Callable[[Mapping[str, Any], Mapping[str, Tensor], _Node], _Settings]:
    """Of an operation that has no attributes, or those of `usual`."""

    def settings(attributes: Mapping[str, Any], constants: Mapping[str, Tensor], node: _Node) -> _Settings:
        for name, value in attributes.items():
            if value != usual.get(name):
                raise ValueError(f"{name} {value}")
        return operation, {}

    return settings


_STEPS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Tensor], _Node], _Settings]] = {
    "Add": _simple("add"),
    "Concat": _concat,
    "Conv": _convolution,
    "DepthToSpace": _shuffle,
    "Div": _simple("div"),
    "Identity": _simple("identity"),
    "Mish": _simple("mish"),
    "Mul": _simple("mul"),
    "Relu": _simple("relu"),
    "Sigmoid": _simple("sigmoid"),
    "Softplus": _simple("softplus"),
    "Sub": _simple("sub"),
    "Swish": _simple("silu", alpha=1.0),
    "Tanh": _simple("tanh"),
}
"""Operations, and what they are in our terms."""
