"""ncnn pairs: NAME.param, the graph as text, and NAME.bin, the weights in the order of the graph.

The format is that of github.com/Tencent/ncnn (docs/developer-guide/param-and-model-file-structure.md). The layers of networks
that came by way of ONNX keep the attribute path of the module they come from in their name (``/block_1/c1_r/eval_conv/Conv``).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import BrokenCheckpointError, CheckpointError
from .checkpoint import Checkpoint
from .exported_graph import MAX_STEPS, Graph, Step

MAGIC = "7767517"
FLOAT16_FLAG = 0x01306B47
_FLOAT32_FLAGS = (0, 0x0002C056)
_MAX_WEIGHTS = 2**28
"""A quarter of a billion weights in one layer: no network of the family comes near, and no graph may ask for more."""
_MAX_TEXT = 2**20
"""Bytes of a graph."""


@dataclass(frozen=True)
class _Layer:
    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    numbers: Mapping[int, float]

    def number(self, key: int, default: int) -> int:
        return int(self.numbers.get(key, default))


def read_ncnn(path: Path) -> Checkpoint:
    """Reads the pair that ``path`` is either file of.

    Raises:
        BrokenCheckpointError: one of the pair is missing, the graph makes no sense, or the weights do not fit it.
        CheckpointError: the graph has layers that no network of the family has.
    """
    param, weights = path.with_suffix(".param"), path.with_suffix(".bin")
    for file, other in ((param, weights), (weights, param)):
        if not file.is_file():
            raise BrokenCheckpointError(
                f"'{other}' is one half of an ncnn pair, and its other half '{file.name}' is not beside it. Both files are needed: "
                "copy the missing one into the same folder."
            )
    layers = _parse(param)
    tensors, precision = _read_weights(layers, weights)
    images = [name for layer in layers if layer.kind == "Input" for name in layer.outputs]
    if len(images) != 1:
        raise BrokenCheckpointError(f"'{param}' takes {len(images)} images, where a network of the SPAN family takes one.")
    graph = Graph(
        image=images[0],
        result=next((name for layer in reversed(layers) for name in layer.outputs), ""),
        steps=tuple(step for layer in layers for step in _steps(layer, tensors, param)),
        constants=tensors,
    )
    return Checkpoint(param, "ncnn", _state(layers, tensors), graph=graph, precision=precision)


def _parse(path: Path) -> list[_Layer]:
    try:
        if path.stat().st_size > _MAX_TEXT:
            raise BrokenCheckpointError(f"'{path}' is {path.stat().st_size:,} bytes long; the graph of a network is no such large text.")
        lines = [line.split() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise BrokenCheckpointError(
            f"'{path}' is not text, as the graph of an ncnn pair is. The binary form (.param.bin) is not read: take the .param file."
        ) from error
    if not lines or lines[0] != [MAGIC]:
        raise BrokenCheckpointError(f"'{path}' does not begin with {MAGIC}, as every ncnn graph does. It is no ncnn .param file.")
    try:
        layers = [_layer(words) for words in lines[2:]]
        expected = int(lines[1][0])
    except (ValueError, IndexError) as error:
        raise BrokenCheckpointError(f"'{path}' has a line that is no ncnn layer ({error}). The file is damaged.") from error
    if len(layers) != expected:
        raise BrokenCheckpointError(f"'{path}' announces {expected} layers and has {len(layers)}. It is truncated: get it again.")
    if len(layers) > MAX_STEPS:
        raise BrokenCheckpointError(f"'{path}' has {len(layers):,} layers; no network of the SPAN family comes near.")
    names, blobs = Counter(layer.name for layer in layers), Counter(name for layer in layers for name in layer.inputs)
    for what, counts in (("names the layer", names), ("reads the blob", blobs)):  # whose contents ncnn gives to the first that reads it
        twice = next((name for name, count in counts.items() if count > 1), None)
        if twice is not None:
            raise BrokenCheckpointError(f"'{path}' {what} '{twice}' twice. The file is damaged.")
    return layers


def _layer(words: list[str]) -> _Layer:
    n_inputs, n_outputs = int(words[2]), int(words[3])
    blobs, settings = words[4 : 4 + n_inputs + n_outputs], words[4 + n_inputs + n_outputs :]
    if min(n_inputs, n_outputs) < 0 or len(blobs) != n_inputs + n_outputs:
        raise ValueError(f"'{words[1]}' lacks inputs or outputs")
    numbers = {int(key): float(value) for key, _, value in (word.partition("=") for word in settings) if "," not in value}
    if not all(map(math.isfinite, numbers.values())):
        raise ValueError(f"'{words[1]}' has a setting that is no number")
    if words[0] in (*_CONVOLUTIONS, "MemoryData", "PixelShuffle", "Concat") and any(value % 1 for value in numbers.values()):
        raise ValueError(f"'{words[1]}' has a setting that is no whole number")
    return _Layer(words[0], words[1], tuple(blobs[:n_inputs]), tuple(blobs[n_inputs:]), numbers)


class _Weights:
    """The .bin file, read from its beginning to its end."""

    def __init__(self, path: Path) -> None:
        self.path, self._data, self._position = path, path.read_bytes(), 0
        self.precision = "float32"
        """Type of the kernels; all else is float32 in every file."""

    def take(self, layer: _Layer, dtype: str, *shape: int) -> np.ndarray:
        count = math.prod(shape)
        if not shape or min(shape) < 1 or count > _MAX_WEIGHTS:
            raise BrokenCheckpointError(f"'{self.path}': the graph gives the layer '{layer.name}' the shape {shape}. It is damaged.")
        end = self._position + count * np.dtype(dtype).itemsize
        if end > len(self._data):
            raise BrokenCheckpointError(
                f"'{self.path}' ends at byte {len(self._data):,}, within the layer '{layer.name}', which needs {end:,}. It is "
                "truncated, or belongs to another .param file: get both again."
            )
        values = np.frombuffer(self._data, dtype, count, self._position).reshape(shape)
        self._position = end + -end % 4  # float16 weights are padded to whole words
        return values

    def tensor(self, layer: _Layer, dtype: str, *shape: int) -> Tensor:
        return torch.from_numpy(self.take(layer, dtype, *shape).astype(np.float32))

    def kernel(self, layer: _Layer) -> Tensor:
        flag = int(self.take(layer, "<u4", 1)[0])
        if flag != FLOAT16_FLAG and flag not in _FLOAT32_FLAGS:
            raise CheckpointError(
                f"'{self.path}' stores the layer '{layer.name}' in a quantised form (flag {flag:#010x}); only float32 and float16 are "
                "read. Take the network's file that is not quantised."
            )
        if flag == FLOAT16_FLAG:
            self.precision = "float16"
        return self.tensor(layer, "<f2" if flag == FLOAT16_FLAG else "<f4", *_kernel_shape(layer, self.path))

    def finish(self) -> None:
        if (rest := len(self._data) - self._position) > 0:
            raise BrokenCheckpointError(
                f"'{self.path}' has {rest:,} bytes more than its graph asks for. It belongs to another .param file: get both again."
            )


def _read_weights(layers: list[_Layer], path: Path) -> tuple[dict[str, Tensor], str]:
    """Tensors by layer name and ``.weight`` or ``.bias``, for MemoryData by the name of what the layer gives; and their type."""
    weights = _Weights(path)
    tensors: dict[str, Tensor] = {}
    for layer in layers:
        if layer.kind == "MemoryData":
            sizes = [size for key in (2, 11, 1, 0) if (size := layer.number(key, 0))]  # channels, depth, height, width; 0: no such axis
            constant = weights.tensor(layer, "<f4", *sizes)
            tensors |= {name: constant.view(-1, 1, 1) if constant.ndim == 1 else constant for name in layer.outputs}  # one per channel
        elif layer.kind in _CONVOLUTIONS:
            tensors[f"{layer.name}.weight"] = weights.kernel(layer)
            if layer.number(5, 0):
                tensors[f"{layer.name}.bias"] = weights.tensor(layer, "<f4", layer.number(0, 0))
        elif layer.kind not in _STEPS:
            raise CheckpointError(
                f"'{path.with_suffix('.param')}' has a layer '{layer.name}' of the kind {layer.kind}, which no network of the SPAN family "
                "has. It is a network of another architecture, for another program."
            )
    weights.finish()
    return tensors, weights.precision


def _kernel_shape(layer: _Layer, path: Path) -> tuple[int, int, int, int]:
    c_out, width, weights = layer.number(0, 0), layer.number(1, 0), layer.number(6, 0)
    height = layer.number(11, width)
    per_input = c_out * width * height
    if min(c_out, width, height) < 1 or weights <= 0 or weights % per_input:
        raise BrokenCheckpointError(
            f"'{path.with_suffix('.param')}' gives the layer '{layer.name}' {weights} weights for {c_out} channels and a kernel of "
            f"{width}x{height}, which does not come out even. The file is damaged."
        )
    return c_out, weights // per_input, height, width


def _state(layers: list[_Layer], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by attribute path; none at all if that is not what layers are called by."""
    paths = {layer.name: attribute_path(layer.name) for layer in layers if layer.kind in _CONVOLUTIONS}
    if len(set(paths.values())) < len(paths):
        return {}
    return {
        f"{path}.{kind}": tensors[key]
        for name, path in paths.items()
        for kind in ("weight", "bias")
        if (key := f"{name}.{kind}") in tensors
    }


def attribute_path(name: str) -> str:
    """``/block_1/c1_r/eval_conv/Conv`` -> ``block_1.c1_r.eval_conv``; ``/upsampler/upsampler.0/Conv`` -> ``upsampler.0``."""
    path: list[str] = []
    for part in name.strip("/").split("/")[:-1] or [name]:
        if path and part.startswith(f"{path[-1]}."):  # a member of a Sequential repeats its parent's name
            path.pop()
        path.append(part)
    return ".".join(path)


_CONVOLUTIONS = ("Convolution", "ConvolutionDepthWise")
_ACTIVATIONS = {0: None, 1: "relu", 4: "sigmoid", 5: "mish"}
"""What a convolution may do to its own result, by the number in its setting 9."""
_BINARY = {0: "add", 1: "sub", 2: "mul", 3: "div", 7: "reverse sub"}


def _steps(layer: _Layer, tensors: Mapping[str, Tensor], path: Path) -> Iterator[Step]:
    """What a layer computes."""
    try:
        if layer.kind in _CONVOLUTIONS:
            yield from _convolution(layer, tensors)
        elif (step := _STEPS.get(layer.kind)) is not None:
            if len(layer.outputs) != 1 and layer.kind != "Split":
                raise ValueError(f"{len(layer.outputs)} outputs")
            operation, settings = step(layer)
            for output in layer.outputs:
                yield Step(operation, layer.inputs, output, layer.name, settings)
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f"'{path}': the layer '{layer.name}' ({layer.kind}) has settings that no layer of the SPAN family has ({error}). It is of "
            "another architecture, or damaged."
        ) from error


def _convolution(layer: _Layer, tensors: Mapping[str, Tensor]) -> Iterator[Step]:
    width, height = layer.number(1, 0), layer.number(11, layer.number(1, 0))
    left, top = layer.number(4, 0), layer.number(14, layer.number(4, 0))
    if any(layer.number(key, 1) != 1 for key in (2, 12, 3, 13)):
        raise ValueError("dilation or stride")
    if layer.number(8, 0) or layer.number(19, 0):
        raise ValueError("weights that are quantised, or computed")
    if (left, top) != (layer.number(15, left), layer.number(16, top)) or layer.numbers.get(18, 0) != 0:
        raise ValueError("padding that is not alike on both sides, or not with zeros")
    padding = (height // 2, width // 2) if (left, top) == (-233, -233) else (top, left)  # -233: whatever keeps the size
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


def _binary(layer: _Layer) -> tuple[str, dict[str, Any]]:
    scalar = {"scalar": layer.numbers.get(2, 0.0)} if layer.number(1, 0) else {}
    return _BINARY[layer.number(0, 0)], scalar


def _concat(layer: _Layer) -> tuple[str, dict[str, Any]]:
    if layer.number(0, 0) != 0:
        raise ValueError("an axis that is not that of channels")
    return "concat", {}


def _relu(layer: _Layer) -> tuple[str, dict[str, Any]]:
    if layer.numbers.get(0, 0) != 0:
        raise ValueError("a slope below zero")
    return "relu", {}


def _shuffle(layer: _Layer) -> tuple[str, dict[str, Any]]:
    if layer.number(1, 0) != 0 or not 1 <= layer.number(0, 1) <= 16:
        raise ValueError("order of channels")
    return "pixel shuffle", {"upscale_factor": layer.number(0, 1)}


def _simple(operation: str) -> Callable[[_Layer], tuple[str, dict[str, Any]]]:
    return lambda _: (operation, {})


_STEPS: dict[str, Callable[[_Layer], tuple[str, dict[str, Any]]] | None] = {
    "Input": None,
    "BinaryOp": _binary,
    "Concat": _concat,
    "Mish": _simple("mish"),
    "Noop": _simple("identity"),
    "PixelShuffle": _shuffle,
    "ReLU": _relu,
    "Sigmoid": _simple("sigmoid"),
    "Split": _simple("identity"),
    "Swish": _simple("silu"),
    "TanH": _simple("tanh"),
}
"""Kinds of layers without weights, and what they compute."""
