"""Networks to ncnn pairs, as Upscayl and its kin want custom models: the image goes in as ``data`` and comes out as ``output``.

Derived from the graph that torch.fx traces off a plain forward pass, one layer for each of its operations. Layers keep the
attribute paths in their names, so that `ncnn` reads the pair again.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ..errors import OptionError
from .ncnn_reader import FLOAT16_FLAG, MAGIC

INPUT, OUTPUT = "data", "output"
_BINARY: dict[Any, int] = {operator.add: 0, operator.sub: 1, operator.mul: 2}
_UNARY: dict[Any, str] = {F.silu: "Swish", F.mish: "Mish", F.relu: "ReLU", torch.sigmoid: "Sigmoid", torch.tanh: "TanH"}


@dataclass
class _Layer:
    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    settings: dict[int, int | float]

    def __str__(self) -> str:
        settings = " ".join(f"{key}={value:e}" if isinstance(value, float) else f"{key}={value}" for key, value in self.settings.items())
        counts = f"{len(self.inputs)} {len(self.outputs)}"
        return f"{self.kind:<24} {self.name:<24} {counts} {' '.join([*self.inputs, *self.outputs])} {settings}".rstrip()


def to_ncnn(network: nn.Module, dtype: torch.dtype) -> tuple[str, bytes]:
    """The two files of a pair: the graph as text, and the weights.

    Args:
        network: on the CPU, in float32; not changed.
        dtype: of the weights, float32 or float16. Biases are always float32.

    Raises:
        OptionError: ncnn has no layer for one of its operations, or the type is another.
    """
    if dtype not in (torch.float32, torch.float16):
        raise OptionError(f"ncnn stores weights as float32 or float16, not as {str(dtype).removeprefix('torch.')}.")
    writer = _Writer(network, dtype)
    layers = _with_splits(writer.layers())
    blobs = sum(len(layer.outputs) for layer in layers)
    return "\n".join([MAGIC, f"{len(layers)} {blobs}", *map(str, layers)]) + "\n", bytes(writer.weights)


class _Writer:
    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        self.weights = bytearray()
        self._network, self._half = network, dtype is torch.float16
        self._modules = dict(cast("Iterable[tuple[str, nn.Module]]", network.named_modules()))

    def layers(self) -> list[_Layer]:
        """One per operation, in order; `weights` grows with them."""
        nodes = list(fx.Tracer().trace(self._network).nodes)
        last = nodes[-1].args[0]
        return [self._layer(node, OUTPUT if node is last else _blob(node)) for node in nodes if node.op != "output"]

    def _layer(self, node: fx.Node, output: str) -> _Layer:
        inputs = [_blob(argument) for argument in node.all_input_nodes]
        if node.op == "placeholder":
            return _Layer("Input", INPUT, [], [INPUT], {})
        if node.op == "get_attr":
            constant = cast(Tensor, operator.attrgetter(str(node.target))(self._network))
            if constant.numel() == constant.shape[1]:  # one number per channel
                self._write(constant)
                return _Layer("MemoryData", f"/{node.target}", [], [output], {0: 1, 1: 1, 2: constant.numel()})
        elif node.op == "call_module":
            module = self._modules[str(node.target)]
            name = "/" + str(node.target).replace(".", "/")
            if isinstance(module, nn.Conv2d):
                return self._convolution(module, f"{name}/Conv", inputs, output)
            if isinstance(module, nn.PixelShuffle):
                return _Layer("PixelShuffle", f"{name}/DepthToSpace", inputs, [output], {0: module.upscale_factor})
        elif node.target in _UNARY:
            return _Layer(_UNARY[node.target], f"/{node.name}", inputs, [output], {})
        elif node.target in _BINARY and isinstance(node.args[0], fx.Node):
            scalar: dict[int, int | float] = {} if isinstance(node.args[1], fx.Node) else {1: 1, 2: float(cast(float, node.args[1]))}
            pair = [_blob(argument) for argument in node.args if isinstance(argument, fx.Node)]
            return _Layer("BinaryOp", f"/{node.name}", pair, [output], {0: _BINARY[node.target], **scalar})
        elif node.target is torch.cat:
            parts = cast("list[fx.Node]", node.args[0])
            return _Layer("Concat", f"/{node.name}", [_blob(part) for part in parts], [output], {0: 0})
        raise OptionError(
            f"ncnn has no layer for what this network does in '{node.name}', so it cannot be written as an ncnn pair. Write it as .onnx or "
            ".safetensors."
        )

    def _convolution(self, module: nn.Conv2d, name: str, inputs: list[str], output: str) -> _Layer:
        height, width = module.kernel_size
        assert isinstance(module.padding, tuple)
        self.weights += (FLOAT16_FLAG if self._half else 0).to_bytes(4, "little")
        self._write(module.weight, half=self._half)
        settings: dict[int, int | float] = {0: module.out_channels, 1: width, 11: height, 4: module.padding[1], 14: module.padding[0]}
        settings |= {5: int(module.bias is not None), 6: module.weight.numel()}
        if module.bias is not None:
            self._write(module.bias)
        if module.groups == 1:
            return _Layer("Convolution", name, inputs, [output], settings)
        return _Layer("ConvolutionDepthWise", name, inputs, [output], {**settings, 7: module.groups})

    def _write(self, tensor: Tensor, *, half: bool = False) -> None:
        self.weights += tensor.detach().numpy().astype("<f2" if half else "<f4").tobytes()
        self.weights += bytes(-len(self.weights) % 4)


def _blob(node: fx.Node) -> str:
    return INPUT if node.op == "placeholder" else f"/{node.name}_output"


def _with_splits(layers: list[_Layer]) -> list[_Layer]:
    """Every blob of ncnn is read once; one that is asked for more often goes through a Split."""
    readers = Counter(name for layer in layers for name in layer.inputs)
    result: list[_Layer] = []
    copies: dict[str, list[str]] = {}
    for layer in layers:
        layer.inputs = [copies[name].pop() if name in copies else name for name in layer.inputs]
        result.append(layer)
        (output,) = layer.outputs
        if (count := readers[output]) > 1:
            parts = [f"{output}_{i}" for i in range(count)]
            copies[output] = parts[::-1]
            result.append(_Layer("Split", f"{output}/Split", [output], parts, {}))
    return result
