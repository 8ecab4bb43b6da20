"""ONNX files: a graph and its weights as one protocol buffer, or with the weights in a file next to it.

The package ``onnx``, which is an extra, parses them. Weights are named by their initialisers if these are attribute paths of the exported
module, else by their nodes. Weights that have lost both names get them back in `weight_names`.
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
from .._util.text import first_line
from ..archs.registry import detect
from ..errors import BrokenCheckpointError, CheckpointError, SpanArchError, UnsafeCheckpointError
from .checkpoint import Checkpoint
from .exported_graph import MAX_STEPS, Graph, Step, attribute_path
from .model_metadata import limits_in, normalisation_in

_PATH = re.compile(r"(?!.*\.bound\.(low|high)$)\w+(\.\w+)+")
"""Matches the names of initialisers that are attribute paths of weights. Bounds are read from the graph."""

_SHAPING = frozenset({
    "Cast", "CastLike", "Ceil", "ConstantOfShape", "Equal", "Expand", "Flatten", "Floor", "Gather", "GridSample", "Mod", "Neg",
    "Pad", "Range", "ReduceSum", "Reshape", "SequenceAt", "Shape", "Slice", "Split", "SplitToSequence", "Squeeze", "Transpose",
    "Unsqueeze", "Where",
})  # fmt: skip
"""Operations that exporters write for DySample, padding and training forms. Graphs with them are read by name and not run."""

_MAX_WEIGHTS = 2**27
"""Weights of a file: half a gigabyte in float32."""

_Node = Any  # onnx has no types for what it parses


def read_onnx(path: Path) -> Checkpoint:
    """Read weights, metadata and, if all its operations can be run, the graph.

    Raises:
        MissingExtraError: the package ``onnx`` is not installed.
        BrokenCheckpointError: the file is not a whole ONNX file, or its weights are not where it says.
        UnsafeCheckpointError: the file refers to weights outside its folder.
        CheckpointError: the graph has operations that no network of the family has.
    """
    onnx = require_extra("onnx", f"to read the ONNX file {path}")
    model: Any = None
    try:
        model = onnx.load(str(path), load_external_data=False)
        for what, count in (("operations", len(model.graph.node)), ("initialisers", len(model.graph.initializer))):
            if count > MAX_STEPS:
                raise ValueError(f"it has {count:,} {what}, and at most {MAX_STEPS:,} are read")
        nodes, tensors = list(model.graph.node), list(_tensors(model.graph))
        if (weights := sum(math.prod(tensor.dims) for _, tensor in tensors)) > _MAX_WEIGHTS:
            raise ValueError(f"it has {weights:,} weights, and at most {_MAX_WEIGHTS:,} are read")  # many may share one small file
        constants = {name: _tensor(onnx, tensor, path) for name, tensor in tensors}
        precision = _precision(onnx, max((tensor for _, tensor in tensors), key=lambda tensor: math.prod(tensor.dims), default=None))
        metadata = {str(entry.key): str(entry.value) for entry in model.metadata_props}
        graph, state = _graph(model.graph, constants, path), _state(nodes, constants)
    except SpanArchError:
        raise
    except Exception as error:  # protobuf and numpy may raise anything on damage
        raise _broken(path, error) from error
    if not nodes:
        raise _broken(path, ValueError("a graph without operations"))
    return Checkpoint(path, "ONNX", state, metadata, normalisation_in(path, metadata), limits_in(path, metadata), graph, precision)


def _broken(path: Path, error: Exception) -> BrokenCheckpointError:
    return BrokenCheckpointError(
        f"{path} ({path.stat().st_size:,} bytes) cannot be read as an ONNX file: {first_line(error)[:200]}. The download was probably "
        "interrupted, or the file is of another kind. Download it again."
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
        raise ValueError(f"'{tensor.name}' has the shape {list(tensor.dims)}")  # numpy would infer a negative size
    values: np.ndarray = onnx.numpy_helper.to_array(tensor, base_dir=str(path.absolute().parent))
    if values.dtype.name in ("float16", "float64", "bfloat16"):
        with np.errstate(over="ignore", invalid="ignore"):  # values that are not finite are reported later, by name
            values = values.astype(np.float32)
    return torch.from_numpy(np.array(values)) if values.dtype.kind in "fiub" else torch.zeros(0)


def _check_external(entry: Mapping[str, str], name: str, path: Path) -> None:
    location = entry.get("location", "")
    folder = path.absolute().parent.resolve()
    file = (folder / location).resolve()
    if not location or not file.is_relative_to(folder):
        raise UnsafeCheckpointError(
            f"{path} reads '{name}' from '{location}', outside its own folder. Nothing was read from there. Do not trust the "
            "file: get the network from its author."
        )
    if not file.is_file():
        raise BrokenCheckpointError(f"{path} keeps its weights in '{location}', which is missing. Copy that file into the same folder.")
    if int(entry.get("offset") or 0) + int(entry.get("length") or 0) > file.stat().st_size:
        raise BrokenCheckpointError(f"{path} keeps '{name}' in {file}, which is truncated. Get both files again from their source.")


def _state(nodes: list[_Node], constants: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by attribute path, named by initialisers or else by nodes; an empty dict if neither is a path."""
    named = {name: tensor for name, tensor in constants.items() if _PATH.fullmatch(name) and tensor.is_floating_point()}
    if named and detect(named) is None:  # the network was exported as a part of another module
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
    """Return the graph; None if it has operations that are known but cannot be run."""
    foreign = sorted({node.op_type for node in graph.node if not _known(node)})
    if foreign:
        raise CheckpointError(
            f"{path} has operations that no network of the SPAN family has ({', '.join(foreign[:4])}). It is of another architecture, or "
            "quantised: use a file that is not quantised."
        )
    if any(node.op_type in _SHAPING or node.domain.startswith("pkg.") for node in graph.node):
        return None
    inputs = [entry for entry in graph.input if entry.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ValueError(f"it has {len(inputs)} inputs and {len(graph.output)} outputs, not one of each")
    steps = tuple(step for node in graph.node if node.op_type != "Constant" for step in _steps(node, constants, path))
    return Graph(inputs[0].name, graph.output[0].name, steps, constants)


def _known(node: _Node) -> bool:
    if node.domain.startswith("pkg."):  # PyTorch's own functions, which its exporter used for a while
        return True
    return node.domain in ("", "ai.onnx") and (node.op_type in _STEPS or node.op_type in _SHAPING or node.op_type == "Constant")


def _steps(node: _Node, constants: Mapping[str, Tensor], path: Path) -> Iterator[Step]:
    attributes = {attribute.name: _value(attribute) for attribute in node.attribute}
    try:
        operation, settings = _STEPS[node.op_type](attributes, constants, node)
    except (ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} has an operation '{node.name}' ({node.op_type}) with settings that no network of the SPAN family has: {error}. The "
            "file is damaged or of another architecture."
        ) from error
    inputs = node.input[:1] if operation == "clip" else node.input
    yield Step(operation, tuple(name for name in inputs if name), node.output[0], node.name, settings)


def _value(attribute: Any) -> Any:
    """Return the value of an attribute that is a number, a text or a list of whole numbers; None for others."""
    return {1: attribute.f, 2: attribute.i, 3: attribute.s, 7: list(attribute.ints)}.get(attribute.type)


_Settings = tuple[str, dict[str, Any]]


def _convolution(attributes: Mapping[str, Any], constants: Mapping[str, Tensor], node: _Node) -> _Settings:
    weight = constants.get(node.input[1])
    if weight is None or weight.ndim != 4:
        raise ValueError("weights that are not a constant with four axes")
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
        raise ValueError("an axis other than the channels")
    return "concat", {}


def _shuffle(attributes: Mapping[str, Any], constants: Mapping[str, Tensor], node: _Node) -> _Settings:
    factor = attributes.get("blocksize")
    if attributes.get("mode") != b"CRD" or not isinstance(factor, int) or not 1 <= factor <= 16:
        raise ValueError("order of channels")
    return "pixel shuffle", {"upscale_factor": factor}


def _clip(attributes: Mapping[str, Any], constants: Mapping[str, Tensor], node: _Node) -> _Settings:
    sides = [*node.input[1:], "", ""][:2]  # constants since version 11, attributes before
    values = [attributes.get(name) if not side else constants[side].item() for name, side in zip(("min", "max"), sides, strict=True)]
    low, high = (default if value is None else float(value) for value, default in zip(values, (-math.inf, math.inf), strict=True))
    return "clip", {"low": low, "high": high}


def _simple(operation: str, **usual: float) -> Callable[[Mapping[str, Any], Mapping[str, Tensor], _Node], _Settings]:
    """Return a reader for an operation that has no attributes, or those of `usual`."""

    def settings(attributes: Mapping[str, Any], constants: Mapping[str, Tensor], node: _Node) -> _Settings:
        for name, value in attributes.items():
            if value != usual.get(name):
                raise ValueError(f"{name} {value}")
        return operation, {}

    return settings


_STEPS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Tensor], _Node], _Settings]] = {
    "Add": _simple("add"),
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _convolution,
    "DepthToSpace": _shuffle,
    "Div": _simple("div"),
    "Identity": _simple("identity"),
    "Max": _simple("maximum"),
    "Min": _simple("minimum"),
    "Mish": _simple("mish"),
    "Mul": _simple("mul"),
    "Relu": _simple("relu"),
    "Sigmoid": _simple("sigmoid"),
    "Softplus": _simple("softplus"),
    "Sub": _simple("sub"),
    "Swish": _simple("silu", alpha=1.0),
    "Tanh": _simple("tanh"),
}
"""Readers of nodes by operation: each returns a key of `OPERATIONS` and its settings."""
