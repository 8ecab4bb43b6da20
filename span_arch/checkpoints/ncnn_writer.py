"""Networks to ncnn pairs, as Upscayl takes custom models: the image goes in as ``data``, the result comes out as ``output``.

The graph has a layer for each traced operation. Layers keep the attribute paths in their names, so `read_ncnn` reads the pair again.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from ..errors import OptionError
from ..streaming.operations import Concatenation, Constant, Convolution, Image, Operation, Pointwise, Ref, Shuffle, Unsupported
from ..streaming.traced_graph import trace
from .ncnn_layers import BINARY, FLOAT16_FLAG, MAGIC, UNARY, Layer

INPUT, OUTPUT = "data", "output"
_UNARY_KINDS = {operation: kind for kind, operation in UNARY.items()}
_BINARY_NUMBERS = {operation: number for number, operation in BINARY.items()}
_SWAPPED = {"add": "add", "mul": "mul", "sub": "reverse sub"}
"""Operations of a number and a value as operations of the value and the number."""


def to_ncnn(network: nn.Module, dtype: torch.dtype) -> tuple[str, bytes]:
    """Return the two files of a pair: the graph as text, and the weights.

    Args:
        network: on the CPU, in float32; not changed.
        dtype: of the weights, float32 or float16. Biases are always float32.

    Raises:
        OptionError: ncnn has no layer for an operation of the network, or the dtype is another.
    """
    if dtype not in (torch.float32, torch.float16):
        raise OptionError(f"ncnn stores weights as float32 or float16, not as {str(dtype).removeprefix('torch.')}.")
    writer = _Writer(network, half=dtype is torch.float16)
    try:
        layers = _with_splits(writer.layers(trace(network).operations))
    except Unsupported as error:
        raise OptionError(f"The network does not fit an ncnn pair: {error}. Save it as .safetensors or .onnx.") from error
    blobs = sum(len(layer.outputs) for layer in layers)
    return "\n".join([MAGIC, f"{len(layers)} {blobs}", *map(str, layers)]) + "\n", bytes(writer.weights)


class _Writer:
    def __init__(self, network: nn.Module, *, half: bool) -> None:
        self.weights = bytearray()
        self._network, self._half = network, half

    def layers(self, operations: Sequence[Operation]) -> list[Layer]:
        """Return the layers of operations in order. `weights` grows with them."""
        layers: list[Layer] = []
        blobs: list[str] = []
        for operation in operations:
            output = INPUT if isinstance(operation, Image) else OUTPUT if operation is operations[-1] else _blob(operation.name)
            inputs = [blobs[value] for value in operation.reads]
            for argument in operation.arguments if isinstance(operation, Pointwise) else ():
                if isinstance(argument, Constant) and all(layer.name != f"/{argument.path}" for layer in layers):
                    layers.append(self._constant(argument))
            layers.append(self._layer(operation, inputs, output))
            blobs.append(output)
        return layers

    def _layer(self, operation: Operation, inputs: list[str], output: str) -> Layer:
        name = f"/{operation.name.replace('.', '/')}"
        if isinstance(operation, Image):
            return Layer("Input", INPUT, (), (output,))
        if isinstance(operation, Convolution):
            return self._convolution(operation, f"{name}/Conv", inputs, output)
        if isinstance(operation, Shuffle):
            return Layer("PixelShuffle", f"{name}/DepthToSpace", tuple(inputs), (output,), {0: operation.factor})
        if isinstance(operation, Concatenation):
            return Layer("Concat", name, tuple(inputs), (output,), {0: 0})
        if isinstance(operation, Pointwise) and not operation.settings:
            function, arguments = operation.function, operation.arguments
            if function in _UNARY_KINDS and len(arguments) == 1:
                return Layer(_UNARY_KINDS[function], name, tuple(inputs), (output,))
            if len(arguments) == 2 and not isinstance(arguments[0], (Ref, Constant)):
                function, arguments = _SWAPPED.get(function, ""), arguments[::-1]
            if function in _BINARY_NUMBERS and len(arguments) == 2:
                blobs = [inputs[a.index] if isinstance(a, Ref) else _blob(a.path) for a in arguments if isinstance(a, (Ref, Constant))]
                scalar = {1: 1, 2: float(arguments[1])} if len(blobs) == 1 else {}
                return Layer("BinaryOp", name, tuple(blobs), (output,), {0: _BINARY_NUMBERS[function], **scalar})
        raise Unsupported(f"ncnn has no layer for {operation.name} ({operation.kind})")

    def _constant(self, constant: Constant) -> Layer:
        if not constant.uniform:
            raise Unsupported(f"ncnn stores no constant that varies by pixel, as {constant.path or 'a computed one'} may")
        tensor = cast(Tensor, operator.attrgetter(constant.path)(self._network))
        self._write(tensor)
        return Layer("MemoryData", f"/{constant.path}", (), (_blob(constant.path),), {0: 1, 1: 1, 2: tensor.numel()})

    def _convolution(self, operation: Convolution, name: str, inputs: list[str], output: str) -> Layer:
        (kernel,) = operation.kernels
        assert kernel is not None
        module = cast(nn.Conv2d, self._network.get_submodule(kernel.path))
        height, width = module.kernel_size
        if kernel.mirrored or kernel.dilation != (1, 1) or (kernel.before != kernel.after and module.padding == "same"):
            raise Unsupported(f"ncnn has no layer for {kernel.path}, which is dilated or not padded by zeros on both sides alike")
        self.weights += (FLOAT16_FLAG if self._half else 0).to_bytes(4, "little")
        self._write(module.weight, half=self._half)
        settings = {0: module.out_channels, 1: width, 11: height, 4: kernel.before[1], 14: kernel.before[0]}
        settings |= {5: int(module.bias is not None), 6: module.weight.numel()}
        if module.bias is not None:
            self._write(module.bias)
        if module.groups == 1:
            return Layer("Convolution", name, tuple(inputs), (output,), settings)
        return Layer("ConvolutionDepthWise", name, tuple(inputs), (output,), {**settings, 7: module.groups})

    def _write(self, tensor: Tensor, *, half: bool = False) -> None:
        self.weights += tensor.detach().numpy().astype("<f2" if half else "<f4").tobytes()
        self.weights += bytes(-len(self.weights) % 4)


def _blob(name: str) -> str:
    return f"/{name.replace('.', '_')}_output"


def _with_splits(layers: list[Layer]) -> list[Layer]:
    """Insert a Split after every blob that is read more than once, as ncnn gives a blob's contents to its first reader."""
    readers = Counter(name for layer in layers for name in layer.inputs)
    result: list[Layer] = []
    copies: dict[str, list[str]] = {}
    for layer in layers:
        result.append(replace(layer, inputs=tuple(copies[name].pop() if name in copies else name for name in layer.inputs)))
        (output,) = layer.outputs
        if (count := readers[output]) > 1:
            parts = [f"{output}_{i}" for i in range(count)]
            copies[output] = parts[::-1]
            result.append(Layer("Split", f"{output}/Split", (output,), tuple(parts)))
    return result
