"""The operations that stream a traced network: checked, and folded where that saves work."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from .operations import Concatenation, Constant, Convolution, Image, Kernel, Operation, Padding, Pointwise, Ref, SamePixels, Unsupported
from .traced_graph import TracedGraph, needed


def streamed_operations(graph: TracedGraph, channels: int) -> list[Operation]:
    """Return the operations that stream a network for images of a number of channels.

    A 1x1 convolution of a concatenation becomes a sum of convolutions. A convolution and a 1x1 after it become one where that saves work.
    A maximum and a minimum become a clamp.

    Raises:
        Unsupported: the network contains an operation that cannot be streamed.
    """
    image, *others = graph.operations
    operations = [Image(image.name, (), channels), *others]
    sizes = channels_of(operations)
    for operation, size in zip(operations, sizes, strict=True):
        read = [sizes[value] for value in operation.reads]
        if isinstance(operation, (Padding, SamePixels)):
            raise Unsupported(f"{operation.name} ({operation.kind}) cannot be streamed")
        if isinstance(operation, Convolution) and not _fits(operation.kernels[0], read[0]):
            raise Unsupported(f"{operation.name} does not keep the size of its input by padding with zeros")
        if isinstance(operation, Pointwise):
            constants = [argument for argument in operation.arguments if isinstance(argument, Constant)]
            counts = [*read, *(math.prod(constant.shape) for constant in constants)]
            if any(count not in (1, size) for count in counts) or not all(constant.uniform for constant in constants):
                raise Unsupported(f"{operation.name} joins values of different channels, or a constant that varies by pixel")
    operations = needed(_folded(operations, sizes))
    return needed([_clamped(operations, operation) for operation in operations])


def channels_of(operations: Sequence[Operation]) -> list[int]:
    """Return the channels of every value."""
    sizes: list[int] = []
    for operation in operations:
        sizes.append(operation.channels([sizes[value] for value in operation.reads]))
    return sizes


def _fits(kernel: Kernel | None, channels: int) -> bool:
    return kernel is not None and kernel.c_in == channels and kernel.before == kernel.after and not kernel.mirrored


def _folded(operations: list[Operation], sizes: list[int]) -> list[Operation]:
    readers = Counter(value for operation in operations for value in operation.reads)
    made: list[Operation] = []
    number: dict[int, int] = {}
    for old, operation in enumerate(operations):
        kernel = operation.kernels[0] if isinstance(operation, Convolution) else None
        if kernel is None or kernel.before != (0, 0) or kernel.groups != 1:
            made.append(operation.renumbered(number))
        else:
            reads: list[int] = []
            kernels: list[Kernel | None] = []
            for part, share in _parts(operations, sizes, operation.reads[0], kernel):
                source = operations[part]
                inner = source.kernels[0] if isinstance(source, Convolution) else None
                alone = readers[part] == 1 and readers[operation.reads[0]] == 1
                if alone and inner is not None and inner.groups == 1 and kernel.c_out <= inner.c_out:
                    made.append(Convolution(source.name, (number[source.reads[0]],), (replace(inner, then=share),)))
                    reads.append(len(made) - 1)
                    kernels.append(None)
                else:
                    reads.append(number[part])
                    kernels.append(share)
            if kernels != [None]:
                made.append(Convolution(operation.name, tuple(reads), tuple(kernels)))
        number[old] = len(made) - 1
    return made


def _clamped(operations: list[Operation], operation: Operation) -> Operation:
    """Return an operation, or if it is a minimum that ends a bound (see `archs.bounds`), the clamp that does both."""
    before = operations[operation.reads[0]] if operation.reads else None
    match before, operation:
        case (
            Pointwise(function="maximum", arguments=(Ref(), Constant() as low)),
            Pointwise(function="minimum", arguments=(Ref(), Constant() as high)),
        ):
            return Pointwise(operation.name, before.reads, "clamp", (Ref(0), low, high))
        case _:
            return operation


def _parts(operations: list[Operation], sizes: list[int], read: int, kernel: Kernel) -> list[tuple[int, Kernel]]:
    """Return the values that a 1x1 convolution reads, with its share for each."""
    source = operations[read]
    if not isinstance(source, Concatenation):
        return [(read, kernel)]
    parts: list[tuple[int, Kernel]] = []
    start = 0
    for value in source.reads:
        parts.append((value, replace(kernel, part=(start, start + sizes[value]))))
        start += sizes[value]
    return parts
