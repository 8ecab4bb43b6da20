"""Reads operations on rows off the graph that torch.fx traces from the plain forward pass of a network."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import fx, nn

from .functions import FUNCTIONS, IN_PLACE, KEYWORDS, SAME, of_module
from .operations import Concatenation, Constant, Convolution, Image, Kernel, Nearest, Operation, Pointwise, Ref, Shuffle, Term, Unshuffle
from .tracer import Tracer, is_size, sides_of


class NotStreamable(Exception):
    """The network does something that is not known to keep to rows."""


def read(network: nn.Module, channels: int) -> tuple[list[Operation], int]:
    """The operations of a network that takes images of so many channels; the last one gives its output.

    Sums stand where 1x1 convolutions read a concatenation, and two convolutions are one where that saves work. They are those for
    images whose sides are a multiple of the number that is returned beside: others the network pads in a way of its own.

    Raises:
        NotStreamable: it does more than convolutions, functions of a pixel, concatenations and changes of grid.
    """
    tracer = Tracer()
    try:
        graph = tracer.trace(network)
    except Exception as error:  # tracing runs the forward pass of any network there is
        raise NotStreamable from error
    return _needed(_folded(_Reader(network, graph, channels).operations())), tracer.multiple


class _Reader:
    """One pass over a traced graph."""

    def __init__(self, network: nn.Module, graph: fx.Graph, channels: int) -> None:
        self._network, self._graph, self._channels = network, graph, channels
        self._made: list[Operation] = []
        self._values: dict[fx.Node, int | Constant | None] = {}  # None: a number, made of sizes

    def operations(self) -> list[Operation]:
        for node in cast("Iterable[fx.Node]", self._graph.nodes):
            if node.op == "output":
                (value,) = node.args
                last = self._value(value)
                return self._made if last == len(self._made) - 1 else [*self._made, *_copy_of(self._made, last)]
            self._values[node] = self._read(node)
        raise NotStreamable

    def _read(self, node: fx.Node) -> int | Constant | None:
        if node.op == "placeholder":
            if self._made:
                raise NotStreamable  # a second input
            return self._add(Image(self._channels))
        if node.op == "get_attr":
            return self._constant(str(node.target))
        if node.op == "call_module":
            (argument,) = node.args
            return self._module(str(node.target), self._value(argument))
        return None if is_size(node) else self._call(node)

    def _add(self, operation: Operation) -> int:
        self._made.append(operation)
        return len(self._made) - 1

    def _value(self, argument: Any) -> int:
        value = self._values.get(argument) if isinstance(argument, fx.Node) else None
        if not isinstance(value, int):
            raise NotStreamable
        return value

    def _constant(self, path: str) -> Constant:
        owner, _, name = path.rpartition(".")
        tensor = getattr(self._network.get_submodule(owner), name, None)
        if path.startswith("_tensor_constant"):
            raise NotStreamable  # one that is no attribute of the network; torch.fx has made it one
        # It must be the same at every pixel: along rows and columns it may have one entry at the most
        if (
            not isinstance(tensor, torch.Tensor)
            or any(size != 1 for size in tensor.shape[-2:])
            or tensor.numel() != max([1, *tensor.shape])
        ):
            raise NotStreamable
        return Constant(path, tensor.numel())

    def _module(self, path: str, value: int) -> int:
        module, channels = self._network.get_submodule(path), self._made[value].channels
        if isinstance(module, nn.Conv2d):
            if module.in_channels != channels:
                raise NotStreamable
            return self._add(Convolution(module.out_channels, (Term(value, _kernel(module, path)),)))
        if isinstance(module, (nn.Identity, nn.Dropout, nn.Dropout2d)):
            return value
        if isinstance(module, nn.PixelShuffle):
            return self._shuffled(value, module.upscale_factor)
        if isinstance(module, nn.PixelUnshuffle):
            return self._add(Unshuffle(channels * module.downscale_factor**2, value, module.downscale_factor))
        if isinstance(module, nn.Upsample) and module.mode == "nearest":
            return self._add(Nearest(channels, value, _whole(module.scale_factor)))
        known = of_module(module, path)
        if known is None:
            raise NotStreamable
        function, others, keywords = known
        arguments = (Ref(value), *(Constant(other, 1) if isinstance(other, str) else other for other in others))
        result = self._add(Pointwise(channels, function, arguments, tuple(keywords.items())))
        if getattr(module, "inplace", False):
            self._rename(value, result)
        return result

    def _call(self, node: fx.Node) -> int:
        target, args, kwargs = node.target, node.args, dict(node.kwargs)
        if target in FUNCTIONS:
            return self._pointwise(node)
        if target in SAME:
            return self._value(args[0])
        if target is operator.getitem:
            return self._cropped(*args)
        if target in (torch.cat, torch.concat):
            parts, dim = _arguments(node, ("tensors", None), ("dim", 0))
            if dim not in (1, -3) or not isinstance(parts, (list, tuple)):
                raise NotStreamable
            values = tuple(self._value(part) for part in cast("list[Any]", parts))
            return self._add(Concatenation(sum(self._made[value].channels for value in values), values))
        if target is F.pixel_shuffle:
            value, factor = _arguments(node, ("input", None), ("upscale_factor", None))
            return self._shuffled(self._value(value), _whole(factor))
        if target is F.pixel_unshuffle:
            value, factor = _arguments(node, ("input", None), ("downscale_factor", None))
            value, factor = self._value(value), _whole(factor)
            return self._add(Unshuffle(self._made[value].channels * factor**2, value, factor))
        if target is F.interpolate and kwargs.get("mode", "nearest") == "nearest" and len(args) <= 3:
            value, size, factor = _arguments(node, ("input", None), ("size", None), ("scale_factor", None))
            if size is None:
                value = self._value(value)
                return self._add(Nearest(self._made[value].channels, value, _whole(factor)))
        raise NotStreamable

    def _cropped(self, argument: Any, index: Any) -> int:
        """What keeps as many rows and columns as the image has, or a multiple: of images that need no padding, that is all."""
        value = self._value(argument)
        parts, everything = cast("tuple[Any, ...]", index) if isinstance(index, tuple) else (), slice(None)
        if len(parts) not in (3, 4) or parts[:2] != (everything, everything):
            raise NotStreamable
        if any(part != everything and sides_of(part, axis) != self._rate(value) for axis, part in enumerate(parts[2:], start=2)):
            raise NotStreamable
        return value

    def _rate(self, value: int) -> Fraction:
        """Rows of a value per row of the image."""
        operation = self._made[value]
        if not operation.reads:
            return Fraction(1)
        rate = self._rate(operation.reads[0])
        if isinstance(operation, (Nearest, Shuffle)):
            return rate * operation.factor
        return rate / operation.factor if isinstance(operation, Unshuffle) else rate

    def _shuffled(self, value: int, factor: int) -> int:
        return self._add(Shuffle(self._made[value].channels // factor**2, value, factor))

    def _pointwise(self, node: fx.Node) -> int:
        keywords = dict(node.kwargs)
        in_place = keywords.pop("inplace", False) or node.target in IN_PLACE or str(node.target).endswith("_")
        if not keywords.keys() <= KEYWORDS or not all(isinstance(value, (int, float, str)) for value in keywords.values()):
            raise NotStreamable
        arguments = tuple(self._argument(argument) for argument in node.args)
        read = [argument.value for argument in arguments if isinstance(argument, Ref)]
        if not read or (in_place and not isinstance(arguments[0], Ref)):
            raise NotStreamable
        channels = max(self._made[value].channels for value in read)
        others = [argument.channels for argument in arguments if isinstance(argument, Constant)]
        if any(size not in (1, channels) for size in [*others, *(self._made[value].channels for value in read)]):
            raise NotStreamable
        result = self._add(Pointwise(channels, FUNCTIONS[node.target], arguments, tuple(keywords.items())))
        if in_place:
            self._rename(read[0], result)
        return result

    def _argument(self, argument: Any) -> Any:
        if isinstance(argument, fx.Node):
            value = self._values[argument]
            if value is None:
                raise NotStreamable  # a size
            return Ref(value) if isinstance(value, int) else value
        if isinstance(argument, (int, float)) and not isinstance(argument, bool):  # which would be `inplace`, by position
            return argument
        raise NotStreamable

    def _rename(self, old: int, new: int) -> None:
        """After an operation in place, whoever names its argument finds its result."""
        for node, value in self._values.items():
            if value == old:
                self._values[node] = new


def _copy_of(made: list[Operation], value: int) -> list[Operation]:
    """An output that is not what was made last is made again, as itself times one."""
    return [Pointwise(made[value].channels, torch.mul, (Ref(value), 1))]


def _kernel(module: nn.Conv2d, path: str) -> Kernel:
    reach = tuple(dilation * (size - 1) for dilation, size in zip(module.dilation, module.kernel_size, strict=True))
    padding = tuple(side // 2 for side in reach) if module.padding == "same" else module.padding
    down, across = reach
    if module.stride != (1, 1) or module.padding_mode != "zeros" or down % 2 or across % 2 or padding != (down // 2, across // 2):
        raise NotStreamable
    dilation = cast("tuple[int, int]", module.dilation)
    return Kernel(path, (down // 2, across // 2), dilation, module.groups)


def _arguments(node: fx.Node, *parameters: tuple[str, Any]) -> list[Any]:
    """The arguments of a call, by position or by name, or as they are by default."""
    given = dict(zip((name for name, _ in parameters), node.args, strict=False)) | node.kwargs
    return [given.get(name, default) for name, default in parameters]


def _whole(factor: Any) -> int:
    if not isinstance(factor, (int, float)) or factor < 1 or factor != int(factor):
        raise NotStreamable
    return int(factor)


def _folded(operations: list[Operation]) -> list[Operation]:
    """With sums for 1x1 convolutions of concatenations, and with convolutions that a 1x1 follows made one with it."""
    readers = Counter(value for operation in operations for value in operation.reads)
    made: list[Operation] = []
    number: dict[int, int] = {}
    for old, operation in enumerate(operations):
        if isinstance(operation, Convolution) and _is_matrix(operation.terms[0]):
            terms = list[Term]()
            for part, term in _parts(operations, operation.terms[0]):
                source = operations[part]
                alone = readers[part] == 1 and readers[operation.reads[0]] == 1
                if alone and isinstance(source, Convolution) and _saves_work(source, operation.channels):
                    (inner,) = source.terms
                    assert inner.kernel is not None
                    made.append(Convolution(operation.channels, (Term(number[inner.value], replace(inner.kernel, then=term.kernel)),)))
                    terms.append(Term(len(made) - 1, None))
                else:
                    terms.append(Term(number[part], term.kernel))
            if len(terms) > 1 or terms[0].kernel is not None:
                made.append(Convolution(operation.channels, tuple(terms)))
        else:
            made.append(operation.renumbered(number))
        number[old] = len(made) - 1
    return made


def _is_matrix(term: Term) -> bool:
    return term.kernel is not None and term.kernel.reach == (0, 0) and term.kernel.groups == 1


def _parts(operations: list[Operation], term: Term) -> list[tuple[int, Term]]:
    """The values that a 1x1 convolution reads, with its share for each."""
    source = operations[term.value]
    if not isinstance(source, Concatenation):
        return [(term.value, term)]
    assert term.kernel is not None
    parts, start = list[tuple[int, Term]](), 0
    for value in source.values:
        stop = start + operations[value].channels
        parts.append((value, Term(value, replace(term.kernel, part=(start, stop)))))
        start = stop
    return parts


def _saves_work(convolution: Convolution, channels: int) -> bool:
    """Whether a convolution and a 1x1 after it are less work as one, which has the channels of the latter."""
    kernel = convolution.terms[0].kernel
    return kernel is not None and kernel.groups == 1 and channels <= convolution.channels


def _needed(operations: list[Operation]) -> list[Operation]:
    """Without what nobody reads any more."""
    wanted = {len(operations) - 1}
    for number in range(len(operations) - 1, -1, -1):
        if number in wanted:
            wanted.update(operations[number].reads)
    if 0 not in wanted:
        raise NotStreamable  # it does not look at its image
    number = {old: new for new, old in enumerate(sorted(wanted))}
    return [operations[old].renumbered(number) for old in sorted(wanted)]
