"""The graph of a network: the operations of its forward pass, as torch.fx traces them.

Row streaming, the receptive field, the ncnn writer and the search for lost weight names all read this graph, so they agree on what a
network does. The trace knows every operation that one of them handles, and refuses all others. In-place operations are resolved:
operations that later read the changed value read the result.
"""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import fx, nn
from typing_extensions import override

from .._util.text import first_line
from .operations import (
    Concatenation,
    Constant,
    Convolution,
    Image,
    Kernel,
    Nearest,
    Operation,
    Padding,
    Pointwise,
    Ref,
    SamePixels,
    Shuffle,
    Unshuffle,
    Unsupported,
)
from .pointwise import ACTIVATIONS, CALLS, SETTINGS


@dataclass(frozen=True)
class TracedGraph:
    """The operations of a forward pass in order, without unused ones. The first is the image, the last gives the output."""

    operations: tuple[Operation, ...]
    multiple: int
    """The graph holds for images whose sides are multiples of this. The network pads others by itself."""


def trace(network: nn.Module) -> TracedGraph:
    """Trace the forward pass of a network. The network is not changed.

    Raises:
        Unsupported: the network takes several images, branches on its image, or uses an unknown operation.
    """
    tracer = _Tracer()
    try:
        with _restored(network):
            graph = tracer.trace(network)
        return TracedGraph(tuple(needed(_Reader(network, graph).operations())), tracer.multiple)
    except Unsupported:
        raise
    except Exception as error:  # tracing runs the forward pass of any network
        raise Unsupported(f"its forward pass cannot be traced ({first_line(error)})") from error


def needed(operations: Sequence[Operation]) -> list[Operation]:
    """Return the operations that the last one depends on, renumbered.

    Raises:
        Unsupported: it does not depend on the image.
    """
    wanted = {len(operations) - 1}
    for number in range(len(operations) - 1, -1, -1):
        if number in wanted:
            wanted.update(operations[number].reads)
    if 0 not in wanted:
        raise Unsupported("its output does not depend on the image")
    number = {old: new for new, old in enumerate(sorted(wanted))}
    return [operations[old].renumbered(number) for old in sorted(wanted)]


@contextlib.contextmanager
def _restored(network: nn.Module) -> Generator[None]:
    """Undo what the forward pass assigns to the network's attributes. In a trace these would be proxies."""
    attributes = [(vars(module), dict(vars(module))) for module in network.modules()]
    try:
        yield
    finally:
        for current, before in attributes:
            for name in current.keys() - before.keys():
                del current[name]
            current.update(before)


def _augmented(function: Any) -> Callable[[fx.Proxy, object], fx.Proxy]:
    return lambda value, other: value.tracer.create_proxy("call_function", function, (value, other), {})


class _Proxy(fx.Proxy):
    """A traced value. ``value += 1`` changes it in place, as it does a tensor; torch.fx alone would make another value."""

    __iadd__, __isub__ = _augmented(operator.iadd), _augmented(operator.isub)
    __imul__, __itruediv__ = _augmented(operator.imul), _augmented(operator.itruediv)


class _Tracer(fx.Tracer):
    """A tracer that follows the forward pass of an image whose sides need no padding."""

    def __init__(self) -> None:
        super().__init__()
        self.multiple = 1

    @override
    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    @override
    def to_bool(self, obj: fx.Proxy) -> bool:
        """Answer that the remainder of a side is 0, and note the divisor. Other decisions cannot be traced."""
        divisor = obj.node.args[1] if obj.node.target is operator.mod and _is_size(obj.node) else None
        if not isinstance(divisor, int) or divisor < 1:
            return super().to_bool(obj)
        self.multiple = math.lcm(self.multiple, divisor)
        return False


def _is_size(argument: Any) -> bool:
    """Return True for what is made of whole numbers and the sides of the image alone."""
    if not isinstance(argument, fx.Node):
        return isinstance(argument, int)
    if argument.target in ("size", getattr):
        return isinstance(argument.args[0], fx.Node) and argument.args[0].op == "placeholder" and argument.args[1:] in ((), ("shape",))
    computed = argument.target in (operator.getitem, operator.mod, operator.mul, operator.imul, operator.sub, operator.isub)
    return computed and all(map(_is_size, argument.args)) and not argument.kwargs


def _sides(part: Any, axis: int) -> int | None:
    """Return the end of a slice as a multiple of the image's side along an axis; None if it is not a multiple."""
    if not isinstance(part, slice) or part.start is not None or part.step is not None or not isinstance(part.stop, fx.Node):
        return None
    side, times = (part.stop.args[0], part.stop.args[1]) if part.stop.target is operator.mul else (part.stop, 1)
    if not isinstance(side, fx.Node) or not isinstance(times, int) or not _is_size(side):
        return None
    return times if side.target is operator.getitem and side.args[1] == axis else None


class _Reader:
    """One pass over the nodes of torch.fx."""

    def __init__(self, network: nn.Module, graph: fx.Graph) -> None:
        self._network, self._graph = network, graph
        self._made: list[Operation] = []
        self._rates: list[Fraction] = []
        """Rows of every value per row of the image."""
        self._values: dict[fx.Node, int | Constant | None] = {}
        """The result of every node: the number of a value, a constant, or None for a size."""
        self._shared: set[int] = set()
        """Values whose memory others may share."""
        self._chunked: set[int] = set()

    def operations(self) -> list[Operation]:
        """Return all operations up to the one that gives the output."""
        for node in cast("Iterable[fx.Node]", self._graph.nodes):
            if node.op == "output":
                return self._made[: self._value(node.args[0]) + 1]
            self._values[node] = self._read(node)
        raise Unsupported("it has no output")

    def _read(self, node: fx.Node) -> int | Constant | None:
        if node.op == "placeholder":
            if self._made:
                raise Unsupported("it takes more than an image")
            return self._add(Image(node.name, ()))
        if node.op == "get_attr":
            return self._constant(str(node.target))
        if node.op == "call_module":
            (argument,) = node.args
            return self._module(str(node.target), argument)
        if _is_size(node):
            return None
        inputs = [self._values[argument] for argument in node.all_input_nodes]
        if inputs and all(isinstance(value, Constant) for value in inputs):
            return Constant("")
        return self._call(node)

    def _add(self, operation: Operation) -> int:
        rates = [self._rates[value] for value in operation.reads]
        self._made.append(operation)
        self._rates.append(rates[0] * operation.scale if rates else Fraction(1))
        return len(self._made) - 1

    def _value(self, argument: Any) -> int:
        value = self._values.get(argument) if isinstance(argument, fx.Node) else None
        if not isinstance(value, int):
            raise Unsupported(f"it uses {argument} as an image")
        return value

    def _shares(self, argument: Any) -> int:
        """Return the value of an argument that another value may share its memory with."""
        value = self._value(argument)
        self._shared.add(value)
        return value

    def _constant(self, path: str) -> Constant:
        if path.startswith("_tensor_constant"):  # torch.fx has made it an attribute of the network
            return Constant("")
        return Constant(path, tuple(operator.attrgetter(path)(self._network).shape))

    def _module(self, path: str, argument: Any) -> int:
        module = self._network.get_submodule(path)
        if isinstance(module, (nn.Identity, nn.Dropout, nn.Dropout2d)):
            return self._value(argument)
        if isinstance(module, nn.Conv2d):
            return self._add(Convolution(path, (self._value(argument),), (_kernel(module, path),)))
        if isinstance(module, nn.PixelShuffle):
            return self._add(Shuffle(path, (self._value(argument),), module.upscale_factor))
        if isinstance(module, nn.PixelUnshuffle):
            return self._add(Unshuffle(path, (self._value(argument),), module.downscale_factor))
        if isinstance(module, nn.Upsample):
            return self._resized(path, argument, module.size, module.scale_factor, module.mode)
        if isinstance(module, (nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d)):
            return self._padded(path, argument, module.padding, "constant" if isinstance(module, nn.ZeroPad2d) else "mirrored")
        if type(module) not in ACTIVATIONS:
            raise Unsupported(f"{path} ({type(module).__name__}) is not a known operation")
        function, *names = ACTIVATIONS[type(module)]
        if isinstance(module, nn.PReLU):
            return self._pointwise(path, function, (argument, Constant(f"{path}.weight", (module.num_parameters, 1, 1))), {})
        settings = {name: getattr(module, name) for name in names}
        return self._pointwise(path, function, (argument,), settings, in_place=getattr(module, "inplace", False))

    def _call(self, node: fx.Node) -> int | Constant:
        target, name = node.target, node.name
        if target in CALLS:
            function, in_place = CALLS[target]
            settings = dict(node.kwargs)
            return self._pointwise(name, function, node.args, settings, in_place=bool(settings.pop("inplace", in_place)))
        if target in ("clone", "contiguous"):
            return self._shares(node.args[0])
        if target in ("to", "float", "type_as"):
            constant = self._values[node.all_input_nodes[0]]
            return constant if isinstance(constant, Constant) else self._same_pixels(name, node.args[0])
        if target in (torch.chunk, "chunk", torch.repeat_interleave) and _arguments(node, "input", "count", "dim")[2] in (1, -3):
            return self._same_pixels(name, node.args[0], chunked=target is not torch.repeat_interleave)
        if target is operator.getitem:
            return self._part(name, *node.args)
        if target in (torch.cat, torch.concat):
            parts, dim = _arguments(node, "tensors", "dim")
            if dim in (1, -3):
                parts = cast("list[Any]", parts if isinstance(parts, (list, tuple)) else [parts])
                return self._add(Concatenation(name, tuple(map(self._value, parts))))
        elif target is F.dropout:
            value, _, training = _arguments(node, "input", "p", "training")
            if training is False:
                return self._shares(value)
        elif target is F.pixel_shuffle:
            value, factor = _arguments(node, "input", "upscale_factor")
            return self._add(Shuffle(name, (self._value(value),), _whole(factor)))
        elif target is F.pixel_unshuffle:
            value, factor = _arguments(node, "input", "downscale_factor")
            return self._add(Unshuffle(name, (self._value(value),), _whole(factor)))
        elif target is F.interpolate:
            return self._resized(name, *_arguments(node, "input", "size", "scale_factor", "mode"))
        elif target is F.pad:
            return self._padded(name, *_arguments(node, "input", "pad", "mode"))
        raise Unsupported(f"{name} is not a known operation")

    def _same_pixels(self, name: str, argument: Any, *, chunked: bool = False) -> int:
        result = self._add(SamePixels(name, (self._shares(argument),)))
        self._shared.add(result)
        if chunked:
            self._chunked.add(result)
        return result

    def _part(self, name: str, argument: Any, index: Any) -> int:
        """Read a slice that keeps the whole value: the rows and columns of the image, times the scale so far."""
        value = self._shares(argument)
        if value in self._chunked:
            return value
        parts, everything = cast("tuple[Any, ...]", index) if isinstance(index, tuple) else (), slice(None)
        cropped = [part != everything and _sides(part, axis) != self._rates[value] for axis, part in enumerate(parts[2:], start=2)]
        if len(parts) not in (3, 4) or parts[:2] != (everything, everything) or any(cropped):
            raise Unsupported(f"{name} takes a part of a value")
        return value

    def _resized(self, name: str, argument: Any, size: Any, factor: Any, mode: str | None) -> int:
        if mode not in (None, "nearest") or size is not None:
            raise Unsupported(f"{name} resizes to a fixed size or by the method {mode}")
        return self._add(Nearest(name, (self._value(argument),), _whole(factor)))

    def _padded(self, name: str, argument: Any, padding: Any, mode: str | None) -> int:
        if mode == "circular" or len(padding) != 4 or not all(isinstance(side, int) for side in padding):
            raise Unsupported(f"{name} pads by {padding} in the mode {mode}")
        left, _, top, _ = padding
        return self._add(Padding(name, (self._shares(argument),), (top, left), mode not in (None, "constant")))

    def _pointwise(self, name: str, function: str, arguments: Sequence[Any], settings: dict[str, Any], *, in_place: bool = False) -> int:
        reads: list[int] = []
        operands: list[Any] = []
        if arguments and isinstance(arguments[-1], bool):  # `inplace` by position
            *arguments, in_place = arguments
        for argument in arguments:
            value = self._values[argument] if isinstance(argument, fx.Node) else argument
            if isinstance(argument, fx.Node) and isinstance(value, int):
                operands.append(Ref(len(reads)))
                reads.append(value)
            elif isinstance(value, (int, float, Constant)) and not isinstance(value, bool):
                operands.append(value)
            else:
                raise Unsupported(f"{name} ({function}) has an argument {argument}, which is neither an image nor a number")
        known = settings.keys() <= SETTINGS and all(isinstance(value, (int, float, str)) for value in settings.values())
        if not known or not reads or (in_place and (not isinstance(operands[0], Ref) or reads[0] in self._shared)):
            raise Unsupported(f"{name} ({function}) has settings that are not known, or changes part of a value in place")
        result = self._add(Pointwise(name, tuple(reads), function, tuple(operands), settings))
        if in_place:
            self._values |= {node: result for node, value in self._values.items() if value == reads[0]}
        return result


def _kernel(module: nn.Conv2d, path: str) -> Kernel:
    if module.stride != (1, 1) or module.padding_mode == "circular":
        raise Unsupported(f"{path} has a stride of {module.stride} and the padding mode '{module.padding_mode}'")
    spans = [dilation * (size - 1) for dilation, size in zip(module.dilation, module.kernel_size, strict=True)]
    padding = module.padding if isinstance(module.padding, tuple) else [span // 2 if module.padding == "same" else 0 for span in spans]
    (top, left), (down, across) = padding, spans
    return Kernel(
        path, module.in_channels, module.out_channels, (top, left), (down - top, across - left), cast("tuple[int, int]", module.dilation),
        module.groups, module.padding_mode != "zeros",
    )  # fmt: skip


def _arguments(node: fx.Node, *names: str) -> list[Any]:
    """Return the arguments of a call by position or by name, None where they are not given."""
    given = dict(zip(names, node.args, strict=False)) | node.kwargs
    return [given.get(name) for name in names]


def _whole(factor: Any) -> int:
    if not isinstance(factor, (int, float)) or factor < 1 or factor != int(factor):
        raise Unsupported(f"it resizes by {factor}, which is not a whole number")
    return int(factor)
