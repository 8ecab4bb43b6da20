"""How far a network sees: the pixels of its input that a pixel of its output can depend on.

Read off the graph that torch.fx traces from the plain forward pass. Every value of the graph carries, for either side, the
furthest input pixels that reach it and its rate (its pixels per pixel of the input). Only operations that are known to look
no further than their definition says are let through; any other, such as attention, pooling or a resize, ends the search
with no answer. So an answer can be trusted: it may be too large, never too small.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import fx, nn


@dataclass(frozen=True)
class Field:
    """Output pixel i, taken back to the input, depends on the input pixels from ``i - before`` to ``i + after`` at the most."""

    before: Fraction = Fraction(0)
    after: Fraction = Fraction(0)
    rate: Fraction = Fraction(1)
    """Pixels per pixel of the input."""

    def seeing(self, before: int, after: int) -> Field:
        """After an operation that looks that many of its own pixels back and ahead."""
        return Field(self.before + before / self.rate, self.after + after / self.rate, self.rate)

    def finer(self, factor: int) -> Field:
        """After every pixel has become ``factor`` pixels."""
        return Field(self.before, self.after, self.rate * factor)

    def coarser(self, factor: int) -> Field:
        """After ``factor`` pixels have become one, which depends on all of them."""
        return Field(self.before, self.after + (factor - 1) / self.rate, self.rate / factor)

    def joined(self, other: Field) -> Field:
        """What a value made of both depends on."""
        if self.rate != other.rate:
            raise _Unknown
        return Field(max(self.before, other.before), max(self.after, other.after), self.rate)


@dataclass(frozen=True)
class ReceptiveField:
    """What a network sees, in pixels of its input."""

    radius: int
    """The most that it looks to any side: 21 for SPAN with six blocks."""
    unit: int
    """Tiles whose edges are multiples of this are cut as the network itself cuts the image; 1 unless it works on a coarser grid."""


class _Unknown(Exception):
    """An operation whose reach is not known."""


def receptive_field(network: nn.Module) -> ReceptiveField | None:
    """Computes what a network sees; None if it is not finite, or not known."""
    try:
        graph = fx.symbolic_trace(network)
        field, finest = _Walk(graph).result()
    except Exception:  # tracing runs the forward pass of any network there is: whatever it raises means "not known"
        return None
    return ReceptiveField(radius=max(0, math.ceil(max(field.before, field.after))), unit=finest)


_POINTWISE_MODULES = (
    nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.SiLU, nn.Mish, nn.GELU, nn.Sigmoid, nn.Tanh, nn.ELU, nn.Hardswish, nn.Hardsigmoid,
    nn.Identity, nn.Dropout, nn.Dropout2d, nn.ReLU6, nn.Softplus,
)  # fmt: skip

_POINTWISE = frozenset[Any]({
    operator.add, operator.sub, operator.mul, operator.truediv, operator.neg, operator.iadd, operator.isub, operator.imul,
    torch.add, torch.sub, torch.mul, torch.div, torch.sigmoid, torch.tanh, torch.relu, torch.clamp, torch.cat, torch.concat,
    torch.chunk, torch.repeat_interleave, F.relu, F.silu, F.mish, F.gelu, F.leaky_relu, F.sigmoid, F.tanh, F.hardtanh, F.dropout,
    "add", "add_", "sub", "sub_", "mul", "mul_", "div", "div_", "sigmoid", "tanh", "clamp", "clamp_", "relu", "relu_",
    "to", "float", "type_as", "contiguous", "clone", "chunk", "neg",
})  # fmt: skip
"""Operations whose result at a pixel depends on that pixel alone. Of some that could do otherwise, `_Walk` looks at the arguments."""

_ALONG_CHANNELS = (torch.cat, torch.concat, torch.chunk, "chunk", torch.repeat_interleave)


class _Walk:
    """One pass over a traced graph."""

    def __init__(self, graph: fx.GraphModule) -> None:
        self._modules = dict(cast("Iterable[tuple[str, nn.Module]]", graph.named_modules()))
        self._nodes: list[fx.Node] = list(graph.graph.nodes)
        self._fields: dict[fx.Node, Field] = {}
        self._coarsest = Fraction(1)

    def result(self) -> tuple[Field, int]:
        for node in self._nodes:
            if node.op == "placeholder":
                if self._fields:
                    raise _Unknown  # a second input
                self._fields[node] = Field()
            elif node.op == "output":
                (value,) = node.args
                if not isinstance(value, fx.Node):
                    raise _Unknown
                return self._fields[value], math.ceil(1 / self._coarsest)
            elif node.op != "get_attr":  # a constant, the same for every pixel, if it can be broadcast at all
                fields = [self._fields[argument] for argument in node.all_input_nodes if argument in self._fields]
                if fields:
                    field = fields[0]
                    for other in fields[1:]:
                        field = field.joined(other)
                    field = self._after(node, field)
                    self._coarsest = min(self._coarsest, field.rate)
                    self._fields[node] = field
                elif node.target not in _POINTWISE and node.target not in ("view", "reshape"):
                    raise _Unknown
        raise _Unknown

    def _after(self, node: fx.Node, field: Field) -> Field:
        if node.op == "call_module":
            return _after_module(self._modules[str(node.target)], field)
        target, arguments = node.target, _Arguments(node)
        if target in _ALONG_CHANNELS:
            position = 2 if target in (torch.chunk, "chunk", torch.repeat_interleave) else 1
            if arguments.get(position, "dim", None) not in (1, -3):
                raise _Unknown
            return field
        if target in _POINTWISE:
            return field
        if target is F.pad:
            return _after_padding(arguments, field)
        if target is F.pixel_shuffle:
            return field.finer(arguments.integer(1, "upscale_factor"))
        if target is F.pixel_unshuffle:
            return field.coarser(arguments.integer(1, "downscale_factor"))
        if target is F.interpolate and arguments.get(3, "mode", "nearest") == "nearest":
            return field.finer(arguments.integer(2, "scale_factor"))
        if target is operator.getitem and isinstance(node.args[1], int):  # a part that chunk has given
            return field
        raise _Unknown


class _Arguments:
    """The arguments of a call by position or name."""

    def __init__(self, node: fx.Node) -> None:
        self._node = node

    def get(self, position: int, name: str, default: Any) -> Any:
        args = self._node.args
        return args[position] if position < len(args) else self._node.kwargs.get(name, default)

    def integer(self, position: int, name: str) -> int:
        value = self.get(position, name, None)
        if not isinstance(value, (int, float)) or value < 1 or value != int(value):
            raise _Unknown
        return int(value)


def _after_module(module: nn.Module, field: Field) -> Field:
    if isinstance(module, nn.Conv2d):
        return _after_convolution(module, field)
    if isinstance(module, nn.PixelShuffle):
        return field.finer(module.upscale_factor)
    if isinstance(module, nn.PixelUnshuffle):
        return field.coarser(module.downscale_factor)
    if isinstance(module, nn.Upsample) and module.mode == "nearest":
        factor = module.scale_factor
        if isinstance(factor, (int, float)) and factor >= 1 and factor == int(factor):
            return field.finer(int(factor))
    elif isinstance(module, nn.ZeroPad2d):
        return _shifted(module.padding, field)
    elif isinstance(module, _POINTWISE_MODULES):
        return field
    raise _Unknown


def _after_convolution(module: nn.Conv2d, field: Field) -> Field:
    """A convolution of stride 1; every row and column is looked at alike, so the larger side of the kernel counts."""
    if module.stride != (1, 1):
        raise _Unknown
    padding = module.padding if isinstance(module.padding, tuple) else None
    before = after = 0
    for side in range(2):
        reach = module.dilation[side] * (module.kernel_size[side] - 1)
        padded = int(padding[side]) if padding is not None else (reach // 2 if module.padding == "same" else 0)
        before, after = max(before, padded), max(after, reach - padded)
    return field.seeing(before, after)


def _after_padding(arguments: _Arguments, field: Field) -> Field:
    padding: list[Any] = list(arguments.get(1, "pad", ()))
    if len(padding) != 4 or not all(isinstance(side, int) for side in padding):
        raise _Unknown
    return _shifted(tuple(padding), field)


def _shifted(padding: tuple[int, ...], field: Field) -> Field:
    """Padding with p pixels at the beginning moves everything p pixels on: pixel i is what pixel i - p was."""
    left, _, top, _ = padding
    return Field(field.before + max(left, top) / field.rate, field.after - min(left, top) / field.rate, field.rate)
