"""ncnn pairs: NAME.param, the graph as text, and NAME.bin, the weights in the order of the graph.

The format is that of github.com/Tencent/ncnn (docs/developer-guide/param-and-model-file-structure.md). Read are the weights of
networks that came by way of ONNX, whose layers keep the attribute path of the module they come from in their name
(``/block_1/c1_r/eval_conv/Conv``), and the normalisation, which stands in the graph.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ..archs._normalisation import Normalisation
from ..errors import BrokenCheckpointError, CheckpointError
from ._checkpoint import Checkpoint

_MAGIC = "7767517"
_FLOAT32_FLAGS = (0, 0x0002C056)
_FLOAT16_FLAG = 0x01306B47
_MAX_WEIGHTS = 2**28
"""A quarter of a billion weights in one layer: no network of the family comes near, and no graph may ask for more."""

_WITHOUT_WEIGHTS = frozenset({
    "BinaryOp", "Clip", "Concat", "Crop", "Dropout", "Eltwise", "HardSigmoid", "HardSwish", "Input", "Interp",
    "Mish", "Noop", "Padding", "Permute", "PixelShuffle", "Pooling", "ReLU", "Reorg", "Reshape", "Sigmoid",
    "Slice", "Softmax", "Split", "Swish", "TanH", "UnaryOp",
})  # fmt: skip


@dataclass(frozen=True)
class _Layer:
    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    numbers: dict[int, float]

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
    graph = _parse(param)
    tensors = _read_weights(graph, weights)
    return Checkpoint(param, "ncnn", _state(graph, tensors), normalisation=_normalisation(graph, tensors))


def _parse(path: Path) -> list[_Layer]:
    try:
        lines = [line.split() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise BrokenCheckpointError(
            f"'{path}' is not text, as the graph of an ncnn pair is. The binary form (.param.bin) is not read: take the .param file."
        ) from error
    if not lines or lines[0] != [_MAGIC]:
        raise BrokenCheckpointError(f"'{path}' does not begin with {_MAGIC}, as every ncnn graph does. It is no ncnn .param file.")
    try:
        layers = [_layer(words) for words in lines[2:]]
        expected = int(lines[1][0])
    except (ValueError, IndexError) as error:
        raise BrokenCheckpointError(f"'{path}' has a line that is no ncnn layer ({error}). The file is damaged.") from error
    if len(layers) != expected:
        raise BrokenCheckpointError(f"'{path}' announces {expected} layers and has {len(layers)}. It is truncated: get it again.")
    names = [layer.name for layer in layers]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BrokenCheckpointError(f"'{path}' names the layer '{twice}' twice. The file is damaged.")
    return layers


def _layer(words: list[str]) -> _Layer:
    n_inputs, n_outputs = int(words[2]), int(words[3])
    blobs, settings = words[4 : 4 + n_inputs + n_outputs], words[4 + n_inputs + n_outputs :]
    if min(n_inputs, n_outputs) < 0 or len(blobs) != n_inputs + n_outputs:
        raise ValueError(f"'{words[1]}' lacks inputs or outputs")
    numbers = {int(key): float(value) for key, _, value in (word.partition("=") for word in settings) if "," not in value}
    return _Layer(words[0], words[1], tuple(blobs[:n_inputs]), tuple(blobs[n_inputs:]), numbers)


class _Weights:
    """The .bin file, read from its beginning to its end."""

    def __init__(self, path: Path) -> None:
        self.path, self._data, self._position = path, path.read_bytes(), 0

    def take(self, layer: _Layer, dtype: str, *shape: int) -> np.ndarray:
        count = math.prod(shape)
        if min(shape) < 1 or count > _MAX_WEIGHTS:
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
        if flag != _FLOAT16_FLAG and flag not in _FLOAT32_FLAGS:
            raise CheckpointError(
                f"'{self.path}' stores the layer '{layer.name}' in a quantised form (flag {flag:#010x}); only float32 and float16 are "
                "read. Take the network's file that is not quantised."
            )
        return self.tensor(layer, "<f2" if flag == _FLOAT16_FLAG else "<f4", *_kernel_shape(layer, self.path))

    def finish(self) -> None:
        if (rest := len(self._data) - self._position) > 0:
            raise BrokenCheckpointError(
                f"'{self.path}' has {rest:,} bytes more than its graph asks for. It belongs to another .param file: get both again."
            )


def _read_weights(graph: list[_Layer], path: Path) -> dict[str, Tensor]:
    """Tensors by layer name and ``.weight`` or ``.bias``; for MemoryData by the name of the layer alone."""
    weights = _Weights(path)
    tensors: dict[str, Tensor] = {}
    for layer in graph:
        if layer.kind == "MemoryData":
            sizes = [layer.number(key, 0) for key in (2, 11, 1, 0)]  # channels, depth, height, width; 0: no such axis
            tensors[layer.name] = weights.tensor(layer, "<f4", *(size for size in sizes if size))
        elif layer.kind in ("Convolution", "ConvolutionDepthWise"):
            tensors[f"{layer.name}.weight"] = weights.kernel(layer)
            if layer.number(5, 0):
                tensors[f"{layer.name}.bias"] = weights.tensor(layer, "<f4", layer.number(0, 0))
        elif layer.kind not in _WITHOUT_WEIGHTS:
            raise CheckpointError(
                f"'{path.with_suffix('.param')}' has a layer '{layer.name}' of the kind {layer.kind}, which no network of the SPAN family "
                "has. It is a network of another architecture, for another program."
            )
    weights.finish()
    return tensors


def _kernel_shape(layer: _Layer, path: Path) -> tuple[int, int, int, int]:
    c_out, width, weights = layer.number(0, 0), layer.number(1, 0), layer.number(6, 0)
    height = layer.number(11, width)
    per_input = c_out * width * height
    if per_input <= 0 or weights <= 0 or weights % per_input:
        raise BrokenCheckpointError(
            f"'{path.with_suffix('.param')}' gives the layer '{layer.name}' {weights} weights for {c_out} channels and a kernel of "
            f"{width}x{height}, which does not come out even. The file is damaged."
        )
    return c_out, weights // per_input, height, width


def _state(graph: list[_Layer], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for layer in graph:
        for kind in ("weight", "bias"):
            if (key := f"{layer.name}.{kind}") in tensors:
                state[f"{_attribute_path(layer.name)}.{kind}"] = tensors[key]
    return state


def _attribute_path(name: str) -> str:
    """``/block_1/c1_r/eval_conv/Conv`` -> ``block_1.c1_r.eval_conv``; ``/upsampler/upsampler.0/Conv`` -> ``upsampler.0``."""
    path: list[str] = []
    for part in name.strip("/").split("/")[:-1] or [name]:
        if path and part.startswith(f"{path[-1]}."):  # a member of a Sequential repeats its parent's name
            path.pop()
        path.append(part)
    return ".".join(path)


def _normalisation(graph: list[_Layer], tensors: dict[str, Tensor]) -> Normalisation | None:
    """What the graph does to the image first: Sub of three constants, perhaps Mul by another, or nothing."""
    image = next((layer.outputs[0] for layer in graph if layer.kind == "Input"), None)
    subtract = next((layer for layer in graph if layer.kind == "BinaryOp" and layer.number(0, 0) == 1 and image in layer.inputs), None)
    if subtract is None:
        return None
    mean = next((tensors[layer.name] for layer in graph if layer.kind == "MemoryData" and layer.outputs[0] in subtract.inputs), None)
    if mean is None or mean.numel() != 3:
        raise CheckpointError(
            f"The graph subtracts something from the image in '{subtract.name}' that is not three constants. It is not of the SPAN family."
        )
    factor = next(
        (layer.numbers[2] for layer in graph if layer.kind == "BinaryOp" and layer.number(0, 0) == 2 and layer.number(1, 0)
         and subtract.outputs[0] in layer.inputs and 2 in layer.numbers),
        1.0,
    )  # fmt: skip
    constants = cast("list[float]", mean.flatten().tolist())
    red, green, blue = (round(constant, 6) for constant in constants)  # float32 of what was written as decimals
    return Normalisation((red, green, blue), factor)
