"""A network as a file states it in full: not only weights, but what is computed with them.

ONNX and ncnn files hold a graph. Reading only its weights would trust that the graph is the one that our network of the same
weights computes; so graphs are run, on a picture of a few pixels, and compared. They are made of the few operations that networks
of the family consist of, and hold no loops and nothing that could grow: whatever a file says, running it takes milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ..archs.normalisation import Normalisation
from ..errors import BrokenCheckpointError, CheckpointError

MAX_STEPS = 4096
"""No network of the family comes near."""

_MAX_ELEMENTS = 2**22
"""Of one tensor, at the size at which graphs are run: no network of the family comes near, nor any of the next two."""

_MAX_TOTAL = 2**25
"""Elements of all tensors that a graph makes."""

_MAX_PRODUCTS = 2**33
"""Multiplications of all its convolutions: a second, or a few."""

_SIDE = 12
"""Of the picture that is shown to graphs. A multiple of all factors that a network may divide its image by."""


@dataclass(frozen=True)
class Step:
    """One operation: tensors in by name, one tensor out."""

    operation: str
    """A key of `OPERATIONS`."""
    inputs: tuple[str, ...]
    output: str
    name: str
    """What the file calls the step."""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Keyword arguments of the operation."""


@dataclass(frozen=True)
class Graph:
    """Steps in an order in which they can be run."""

    image: str
    """The name of the tensor that goes in."""
    result: str
    """The name of the tensor that comes out."""
    steps: tuple[Step, ...]
    constants: Mapping[str, Tensor]
    """Weights and other tensors that the file holds, by the names that steps use."""

    @property
    def convolutions(self) -> list[Step]:
        """The steps that have weights, in the order of the graph."""
        return [step for step in self.steps if step.operation == "conv"]

    def run(self, image: Tensor) -> Tensor:
        """(B, C, H, W) through all steps.

        Raises:
            BrokenCheckpointError: a step does not fit its tensors, or there are too many of either.
        """
        return self._run(image, self.result, self.steps)

    def normalisation(self) -> Normalisation | None:
        """What the graph does to its image before the first convolution; None for nothing. Asked with a black and a white pixel.

        Raises:
            CheckpointError: it is something else than `Normalisation` is.
        """
        first = next(iter(self.convolutions), None)
        if first is None or first.inputs[0] == self.image:
            return None
        before = self.steps[: self.steps.index(first)]
        black, white = (self._run(torch.full((1, 3, 1, 1), level), first.inputs[0], before) for level in (0.0, 1.0))
        if black.shape == white.shape == (1, 3, 1, 1):
            spans, offsets = (cast("list[float]", tensor.flatten().tolist()) for tensor in (white - black, black))
            if max(map(abs, offsets)) == 0 and spans == [1, 1, 1]:
                return None
            if spans[0] > 0 and max(spans) - min(spans) <= 1e-3 * spans[0]:
                span = float(f"{spans[0]:.6g}")  # float32 of what was written as decimals
                red, green, blue = (round(-offset / span, 6) for offset in offsets)
                return Normalisation((red, green, blue), span)
        raise CheckpointError(
            "The graph does something to its image before the first convolution that is no subtraction of a mean and multiplication by "
            "a range. It is not of the SPAN family."
        )

    def check(self, network: Callable[[Tensor], Tensor], channels: int) -> None:
        """Compares what a network computes with what the graph does.

        Raises:
            BrokenCheckpointError: they differ.
        """
        image = torch.rand(1, channels, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0))
        expected, found = self.run(image), network(image)
        if expected.shape != found.shape or not agree(found, expected):
            raise BrokenCheckpointError(
                "The graph computes something else than the network that its weights are of does. The file is damaged, or the graph was "
                "changed after it was exported: get it again from its source."
            )

    def _run(self, image: Tensor, result: str, steps: tuple[Step, ...]) -> Tensor:
        tensors = {**self.constants, self.image: image}
        total = products = 0
        try:
            for step in steps:
                inputs = [tensors[name] for name in step.inputs]
                _bounded(sum(tensor.numel() for tensor in inputs))
                if step.output in tensors:
                    raise ValueError(f"the step '{step.name}' makes '{step.output}', which is there already")
                if step.operation == "conv":
                    products += inputs[1].numel() * _pixels(inputs[0], step.settings["padding"])
                    _bounded(products, _MAX_PRODUCTS, "multiplications")
                made = tensors[step.output] = OPERATIONS[step.operation](*inputs, **step.settings)
                total += made.numel()
                _bounded(total, _MAX_TOTAL, "elements in all tensors")
            return tensors[result].float()
        except KeyError as error:
            raise BrokenCheckpointError(f"The graph uses a tensor {error} before it makes it. The file is damaged.") from error
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BrokenCheckpointError(f"The graph cannot be run: {reason}. The file is damaged.") from error


def agree(found: Tensor, expected: Tensor) -> bool:
    """Whether two results are the same to what rounding may do: within 1e-3 of the range, which at least is that of images."""
    spread = max(float(expected.max() - expected.min()), 1.0)
    return bool((found - expected).abs().max() <= 1e-3 * spread)


def _conv(image: Tensor, weight: Tensor, bias: Tensor | None = None, *, padding: tuple[int, int], groups: int = 1) -> Tensor:
    """Stride 1, padded with zeros: rows above and below, columns left and right."""
    pixels = _pixels(image, padding)
    _bounded(max(weight.shape[0], weight[0].numel()) * pixels)  # what comes out, and what goes in as a matrix
    return F.conv2d(image, weight, bias, padding=padding, groups=groups)


def _pixels(image: Tensor, padding: tuple[int, int]) -> int:
    """Of all images of a batch, padded."""
    return image.shape[0] * (image.shape[-2] + 2 * padding[0]) * (image.shape[-1] + 2 * padding[1])


def _elementwise(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    def apply(a: Tensor, b: Tensor | None = None, *, scalar: float | None = None) -> Tensor:
        if (b is None) == (scalar is None):
            raise ValueError("an operation of two tensors, or of one and a number, has other inputs")
        other = torch.tensor(scalar) if b is None else b
        _bounded(math.prod(cast("tuple[int, ...]", torch.broadcast_shapes(a.shape, other.shape))))
        return function(a, other)

    return apply


def _unary(function: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda tensor: function(tensor)  # and none that would be taken for an option, such as ``inplace``


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _bounded(number: int, most: int = _MAX_ELEMENTS, what: str = "elements in a step") -> None:
    if number > most:
        raise ValueError(f"{number:,} {what} are more than any network of the SPAN family has")


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "conv": _conv,
    "add": _elementwise(torch.add),
    "sub": _elementwise(torch.sub),
    "mul": _elementwise(torch.mul),
    "div": _elementwise(torch.div),
    "reverse sub": _elementwise(torch.rsub),
    "relu": _unary(F.relu),
    "silu": _unary(F.silu),
    "mish": _unary(F.mish),
    "sigmoid": _unary(torch.sigmoid),
    "tanh": _unary(torch.tanh),
    "softplus": _unary(F.softplus),
    "concat": lambda *tensors: torch.cat(tensors, 1),
    "pixel shuffle": F.pixel_shuffle,
    "identity": _same,
}
"""What a graph may be made of. Tensors are (B, C, H, W), and constants of any shape that can be broadcast to that."""
