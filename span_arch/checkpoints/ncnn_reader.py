"""ncnn pairs: NAME.param, the graph as text, and NAME.bin, the weights in the order of the graph.

Layers that were converted from ONNX have the attribute path of their module in their name (``/block_1/c1_r/eval_conv/Conv``).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import BrokenCheckpointError, CheckpointError
from .checkpoint import Checkpoint
from .exported_graph import MAX_STEPS, Graph, Step, attribute_path
from .ncnn_layers import BINARY, CONVOLUTIONS, FLOAT16_FLAG, MAGIC, UNARY, Layer

_FLOAT32_FLAGS = (0, 0x0002C056)
_MAX_WEIGHTS = 2**28
"""Weights of one layer, far above what networks of the family have."""
_MAX_TEXT = 2**20
"""Bytes of a graph."""


def read_ncnn(path: Path) -> Checkpoint:
    """Read a pair, given either of its files.

    Raises:
        BrokenCheckpointError: one of the pair is missing, the graph is not valid, or the weights do not fit it.
        CheckpointError: the graph has layers that no network of the family has.
    """
    param, weights = path.with_suffix(".param"), path.with_suffix(".bin")
    for file, other in ((param, weights), (weights, param)):
        if not file.is_file():
            raise BrokenCheckpointError(
                f"{other} is one half of an ncnn pair, and {file.name} is missing. Copy the missing file into the same folder."
            )
    layers = _parse(param)
    tensors, precision = _read_weights(layers, weights)
    images = [name for layer in layers if layer.kind == "Input" for name in layer.outputs]
    if len(images) != 1:
        raise BrokenCheckpointError(f"{param} takes {len(images)} images, but a network of the SPAN family takes one. Choose another file.")
    graph = Graph(
        image=images[0],
        result=next((name for layer in reversed(layers) for name in layer.outputs), ""),
        steps=tuple(step for layer in layers for step in _steps(layer, tensors, param)),
        constants=tensors,
    )
    return Checkpoint(param, "ncnn", _state(layers, tensors), graph=graph, precision=precision)


def _parse(path: Path) -> list[Layer]:
    try:
        if path.stat().st_size > _MAX_TEXT:
            raise _damaged(path, f"is {path.stat().st_size:,} bytes long, and at most {_MAX_TEXT:,} are read")
        lines = [line.split() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise BrokenCheckpointError(
            f"{path} is not text, as the graph of an ncnn pair is. The binary form (.param.bin) cannot be read: use the .param file."
        ) from error
    if not lines or lines[0] != [MAGIC]:
        raise BrokenCheckpointError(f"{path} does not begin with {MAGIC}, as an ncnn graph does. Choose the network's own .param file.")
    try:
        layers = [Layer.parse(words) for words in lines[2:]]
        expected = int(lines[1][0])
    except (ValueError, IndexError) as error:
        raise _damaged(path, f"has a line that is not an ncnn layer ({error})") from error
    if len(layers) != expected:
        raise _damaged(path, f"announces {expected} layers and has {len(layers):,}")
    if len(layers) > MAX_STEPS:
        raise _damaged(path, f"has {len(layers):,} layers, and at most {MAX_STEPS:,} are read")
    names, blobs = Counter(layer.name for layer in layers), Counter(name for layer in layers for name in layer.inputs)
    for repeats, counts in (("names the layer", names), ("reads the blob", blobs)):  # ncnn gives a blob to its first reader only
        twice = next((name for name, count in counts.items() if count > 1), None)
        if twice is not None:
            raise _damaged(path, f"{repeats} '{twice}' twice")
    return layers


def _damaged(path: Path, fault: str) -> BrokenCheckpointError:
    return BrokenCheckpointError(f"{path} {fault}. The file is damaged: get both files of the pair again.")


class _Weights:
    """The .bin file, read from its beginning to its end."""

    def __init__(self, path: Path) -> None:
        self.path, self._data, self._position = path, path.read_bytes(), 0
        self.precision = "float32"
        """The type of the kernels. All else is float32 in every file."""

    def tensor(self, layer: Layer, dtype: str, *shape: int) -> Tensor:
        """Read the next tensor as float32."""
        return torch.from_numpy(self._take(layer, dtype, *shape).astype(np.float32))

    def kernel(self, layer: Layer) -> Tensor:
        """Read the next kernel, of either type."""
        flag = int(self._take(layer, "<u4", 1)[0])
        if flag != FLOAT16_FLAG and flag not in _FLOAT32_FLAGS:
            raise CheckpointError(
                f"{self.path} stores the layer '{layer.name}' quantised (flag {flag:#010x}), but only float32 and float16 can be read. "
                "Use a file that is not quantised."
            )
        if flag == FLOAT16_FLAG:
            self.precision = "float16"
        return self.tensor(layer, "<f2" if flag == FLOAT16_FLAG else "<f4", *_kernel_shape(layer, self.path))

    def finish(self) -> None:
        """Check that nothing is left."""
        if (rest := len(self._data) - self._position) > 0:
            raise _damaged(self.path, f"has {rest:,} bytes more than its graph describes, or belongs to another .param file")

    def _take(self, layer: Layer, dtype: str, *shape: int) -> np.ndarray:
        count = math.prod(shape)
        if not shape or min(shape) < 1 or count > _MAX_WEIGHTS:
            raise _damaged(self.path, f"cannot be read, because the graph gives the layer '{layer.name}' the shape {shape}")
        end = self._position + count * np.dtype(dtype).itemsize
        if end > len(self._data):
            raise _damaged(self.path, f"is truncated at byte {len(self._data):,}: the layer '{layer.name}' ends at byte {end:,}")
        values = np.frombuffer(self._data, dtype, count, self._position).reshape(shape)
        self._position = end + -end % 4  # float16 weights are padded to whole words
        return values


def _read_weights(layers: list[Layer], path: Path) -> tuple[dict[str, Tensor], str]:
    """Return tensors, and the type of the kernels.

    Tensors have the name of their layer and ``.weight`` or ``.bias``; constants have the name of the blob.
    """
    weights = _Weights(path)
    tensors: dict[str, Tensor] = {}
    for layer in layers:
        if layer.kind == "MemoryData":
            sizes = [size for key in (2, 11, 1, 0) if (size := layer.number(key, 0))]  # channels, depth, height, width; 0: no such axis
            constant = weights.tensor(layer, "<f4", *sizes)
            tensors |= {name: constant.view(-1, 1, 1) if constant.ndim == 1 else constant for name in layer.outputs}  # one per channel
        elif layer.kind in CONVOLUTIONS:
            tensors[f"{layer.name}.weight"] = weights.kernel(layer)
            if layer.number(5, 0):
                tensors[f"{layer.name}.bias"] = weights.tensor(layer, "<f4", layer.number(0, 0))
        elif layer.kind not in _KINDS:
            raise CheckpointError(
                f"{path.with_suffix('.param')} is not a network of the SPAN family: the layer '{layer.name}' is of the kind {layer.kind}. "
                "Choose a file of that family."
            )
    weights.finish()
    return tensors, weights.precision


def _kernel_shape(layer: Layer, path: Path) -> tuple[int, int, int, int]:
    c_out, width, weights = layer.number(0, 0), layer.number(1, 0), layer.number(6, 0)
    height = layer.number(11, width)
    per_input = c_out * width * height
    if min(c_out, width, height) < 1 or weights <= 0 or weights % per_input:
        raise _damaged(
            path.with_suffix(".param"),
            f"gives the layer '{layer.name}' {weights} weights, which do not divide into {c_out} channels and a kernel of {width}x{height}",
        )
    return c_out, weights // per_input, height, width


def _state(layers: list[Layer], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by attribute path; an empty dict if the layers are not named by distinct paths."""
    paths = {layer.name: attribute_path(layer.name) for layer in layers if layer.kind in CONVOLUTIONS}
    if len(set(paths.values())) < len(paths):
        return {}
    return {
        f"{path}.{kind}": tensors[key]
        for name, path in paths.items()
        for kind in ("weight", "bias")
        if (key := f"{name}.{kind}") in tensors
    }


_KINDS = ("Input", "BinaryOp", "Clip", "Concat", "Noop", "PixelShuffle", "Split", *UNARY)
"""Kinds of layers without weights."""
_ACTIVATIONS = {0: None, 1: "relu", 4: "sigmoid", 5: "mish"}
"""The activations that a convolution may include, by setting 9."""


def _steps(layer: Layer, tensors: Mapping[str, Tensor], path: Path) -> Iterator[Step]:
    """Yield the steps that a layer consists of."""
    try:
        if layer.kind in CONVOLUTIONS:
            yield from _convolution(layer, tensors)
        elif layer.kind not in ("Input", "MemoryData"):
            if len(layer.outputs) != 1 and layer.kind != "Split":
                raise ValueError(f"{len(layer.outputs)} outputs")
            operation, settings = _operation(layer)
            for output in layer.outputs:
                yield Step(operation, layer.inputs, output, layer.name, settings)
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"{path} has a layer '{layer.name}' ({layer.kind}) with settings that no network of the SPAN family has: {error}. The file is "
            "damaged or of another architecture."
        ) from error


def _convolution(layer: Layer, tensors: Mapping[str, Tensor]) -> Iterator[Step]:
    width, height = layer.number(1, 0), layer.number(11, layer.number(1, 0))
    left, top = layer.number(4, 0), layer.number(14, layer.number(4, 0))
    if any(layer.number(key, 1) != 1 for key in (2, 12, 3, 13)):
        raise ValueError("dilation or stride")
    if layer.number(8, 0) or layer.number(19, 0):
        raise ValueError("weights that are quantised or computed")
    if (left, top) != (layer.number(15, left), layer.number(16, top)) or layer.settings.get(18, 0) != 0:
        raise ValueError("padding that differs on both sides, or is not zero")
    padding = (height // 2, width // 2) if (left, top) == (-233, -233) else (top, left)  # -233 keeps the size
    if not (0 <= padding[0] <= height and 0 <= padding[1] <= width):
        raise ValueError(f"padding {padding}")
    activation = _ACTIVATIONS[layer.number(9, 0)]
    inputs = (*layer.inputs, *(key for kind in ("weight", "bias") if (key := f"{layer.name}.{kind}") in tensors))
    (output,) = layer.outputs
    groups = layer.number(7, 1) if layer.kind == "ConvolutionDepthWise" else 1
    linear = f"{output} before its activation" if activation else output
    yield Step("conv", inputs, linear, layer.name, {"padding": padding, "groups": groups})
    if activation:
        yield Step(activation, (linear,), output, layer.name)


def _operation(layer: Layer) -> tuple[str, dict[str, Any]]:
    """Return the operation of a layer without weights, and its settings."""
    if layer.kind == "BinaryOp":
        return BINARY[layer.number(0, 0)], {"scalar": layer.settings.get(2, 0.0)} if layer.number(1, 0) else {}
    if layer.kind == "Clip":
        return "clip", {"low": layer.settings.get(0, -math.inf), "high": layer.settings.get(1, math.inf)}
    if layer.kind == "Concat":
        if layer.number(0, 0) != 0:
            raise ValueError("an axis other than the channels")
        return "concat", {}
    if layer.kind == "PixelShuffle":
        if layer.number(1, 0) != 0 or not 1 <= layer.number(0, 1) <= 16:
            raise ValueError("order of channels")
        return "pixel shuffle", {"upscale_factor": layer.number(0, 1)}
    if layer.kind == "ReLU" and layer.settings.get(0, 0) != 0:
        raise ValueError("a slope below zero")
    return UNARY.get(layer.kind, "identity"), {}
