"""The graphs of ONNX and ncnn files: the operations that the file applies to its weights.

The file's graph need not compute the same as our network with the same weights. So the graph is run on an image of a few pixels,
and the results are compared. A graph consists of the few operations that networks of the family need. It has no loops, and
sizes are bounded: running any graph takes milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._util.text import first_line
from ..archs.bounds import Limits, bounds_of
from ..archs.normalisation import Normalisation
from ..errors import BrokenCheckpointError, CheckpointError

MAX_STEPS = 4096
"""Steps of a graph. All limits here are far above what networks of the family need."""

_MAX_ELEMENTS = 2**22
"""Elements of one tensor, at the size at which graphs are run."""

_MAX_TOTAL = 2**25
"""Elements of all tensors that a graph makes."""

_MAX_PRODUCTS = 2**33
"""Multiplications of all convolutions: a few seconds at most."""

_SIDE = 12
"""Side of the image that graphs are run on: a multiple of every factor that a network may unshuffle by."""


@dataclass(frozen=True)
class Step:
    """An operation that reads tensors by name and makes one tensor."""

    operation: str
    """A key of `OPERATIONS`."""
    inputs: tuple[str, ...]
    output: str
    name: str
    """The name of the step in the file."""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Keyword arguments of the operation."""


@dataclass(frozen=True)
class Clamp:
    """Steps that clamp a tensor."""

    source: str
    output: str
    low: Tensor
    """For each channel or for all, minus infinity for none."""
    high: Tensor


@dataclass(frozen=True)
class Graph:
    """Steps in an order in which they can run."""

    image: str
    """The name of the tensor that goes in."""
    result: str
    """The name of the tensor that comes out."""
    steps: tuple[Step, ...]
    constants: Mapping[str, Tensor]
    """Weights and other tensors of the file, by the names that steps use."""

    @property
    def convolutions(self) -> list[Step]:
        """The steps that have weights, in the order of the graph."""
        return [step for step in self.steps if step.operation == "conv"]

    def run(self, image: Tensor) -> Tensor:
        """Run all steps on an image (B, C, H, W).

        Raises:
            BrokenCheckpointError: a step does not fit its tensors, or tensors or work exceed the limits.
        """
        return self._run(image, self.result, self.steps)

    def normalisation(self) -> Normalisation | None:
        """Return the normalisation before the graph's first convolution, measured on a black and a white pixel; None if there is none.

        Raises:
            CheckpointError: the graph does something that `Normalisation` cannot express.
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
                span = float(f"{spans[0]:.6g}")  # undoes the rounding of decimals to float32
                red, green, blue = (round(-offset / span, 6) for offset in offsets)
                return Normalisation((red, green, blue), span)
        raise CheckpointError(
            "The graph changes its image before the first convolution in an unknown way. Networks of the SPAN family only subtract a mean "
            "and multiply by a range. Load a file of that family."
        )

    @cached_property
    def clamps(self) -> tuple[Clamp, ...]:
        """The steps that clamp a tensor between constants, in the order of the graph."""
        found: list[Clamp] = []
        for step in self.steps:
            clamp = self._clamp(step)
            if clamp is not None and found and found[-1].output == clamp.source:  # a maximum and a minimum in a row
                last = found.pop()
                clamp = Clamp(last.source, clamp.output, torch.maximum(last.low, clamp.low), torch.minimum(last.high, clamp.high))
            found += [] if clamp is None else [clamp]
        return tuple(found)

    def limits(self, network: nn.Module) -> Limits | None:
        """Return the limits that the graph sets on the activations of a network with the same weights; None if it sets none.

        Raises:
            BrokenCheckpointError: there are limits for other channels.
        """
        bounds = bounds_of(network)
        if len(self.clamps) < len(bounds):  # such as one that clamps the result
            return None
        try:
            return {
                path: (clamp.low.flatten().expand(bound.channels), clamp.high.flatten().expand(bound.channels))
                for (path, bound), clamp in zip(bounds.items(), self.clamps, strict=False)
            }
        except RuntimeError as error:
            raise BrokenCheckpointError(
                f"The graph clamps activations to limits that do not fit their channels: {first_line(error)}. The file is damaged: get it "
                "again from its source."
            ) from error

    def _clamp(self, step: Step) -> Clamp | None:
        low, high = torch.tensor(-math.inf), torch.tensor(math.inf)
        if step.operation == "clip":
            return Clamp(step.inputs[0], step.output, torch.tensor(step.settings["low"]), torch.tensor(step.settings["high"]))
        variables = [name for name in step.inputs if name not in self.constants]
        if step.operation not in ("maximum", "minimum") or len(variables) != 1:
            return None
        constant = next((self.constants[name] for name in step.inputs if name in self.constants), None)
        limit = torch.tensor(float(step.settings["scalar"])) if constant is None else constant.float()
        return Clamp(variables[0], step.output, *((limit, high) if step.operation == "maximum" else (low, limit)))

    def check(self, network: Callable[[Tensor], Tensor], channels: int) -> None:
        """Compare the result of a network with that of the graph, on a random image with a number of channels.

        Raises:
            BrokenCheckpointError: they differ.
        """
        image = torch.rand(1, channels, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0))
        expected, found = self.run(image), network(image)
        if self.clamps and self.clamps[-1].output == self.result:  # the result is clamped to 0..1 in any case
            found = found.clamp(self.clamps[-1].low, self.clamps[-1].high)
        if expected.shape != found.shape or not agree(found, expected):
            raise BrokenCheckpointError(
                "The graph gives another result than the network with the same weights. The file is damaged, or the graph was changed "
                "after the export. Get the file again from its source."
            )

    def _run(self, image: Tensor, result: str, steps: tuple[Step, ...]) -> Tensor:
        tensors = {**self.constants, self.image: image}
        total = products = 0
        try:
            for step in steps:
                inputs = [tensors[name] for name in step.inputs]
                _bounded(sum(tensor.numel() for tensor in inputs))
                if step.output in tensors:
                    raise ValueError(f"the step '{step.name}' makes '{step.output}', which exists already")
                if step.operation == "conv":
                    products += inputs[1].numel() * _pixels(inputs[0], step.settings["padding"])
                    _bounded(products, _MAX_PRODUCTS, "multiplications")
                made = tensors[step.output] = OPERATIONS[step.operation](*inputs, **step.settings)
                total += made.numel()
                _bounded(total, _MAX_TOTAL, "elements in all tensors")
            return tensors[result].float()
        except KeyError as error:
            raise BrokenCheckpointError(
                f"The graph reads the tensor {error} before a step makes it. The file is damaged: get it again from its source."
            ) from error
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise BrokenCheckpointError(
                f"The graph cannot be run: {first_line(error)}. The file is damaged: get it again from its source."
            ) from error


def agree(found: Tensor, expected: Tensor) -> bool:
    """Return True if two results differ by rounding only: by at most 1e-3 of their range, or of 1 if that is larger."""
    spread = max(float(expected.max() - expected.min()), 1.0)
    return bool((found - expected).abs().max() <= 1e-3 * spread)


def attribute_path(name: str) -> str:
    """Return the attribute path in the name that an ONNX exporter has given to a node, or ncnn to a layer made from it.

    ``/block_1/c1_r/eval_conv/Conv`` gives ``block_1.c1_r.eval_conv``, ``/upsampler/upsampler.0/Conv`` gives ``upsampler.0``.
    """
    path: list[str] = []
    for part in name.strip("/").split("/")[:-1] or [name]:
        if path and part.startswith(f"{path[-1]}."):  # a member of a Sequential repeats its parent's name
            path.pop()
        path.append(part)
    return ".".join(path)


def _conv(image: Tensor, weight: Tensor, bias: Tensor | None = None, *, padding: tuple[int, int], groups: int = 1) -> Tensor:
    """Convolve with stride 1, padded with zeros: rows above and below, columns left and right."""
    pixels = _pixels(image, padding)
    _bounded(max(weight.shape[0], weight[0].numel()) * pixels)  # the result, and the input unfolded into a matrix
    return F.conv2d(image, weight, bias, padding=padding, groups=groups)


def _pixels(image: Tensor, padding: tuple[int, int]) -> int:
    """Return the pixels of all padded images of a batch."""
    return image.shape[0] * (image.shape[-2] + 2 * padding[0]) * (image.shape[-1] + 2 * padding[1])


def _elementwise(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    def apply(a: Tensor, b: Tensor | None = None, *, scalar: float | None = None) -> Tensor:
        if (b is None) == (scalar is None):
            raise ValueError("an operation takes neither two tensors nor a tensor and a number")
        other = torch.tensor(scalar) if b is None else b
        _bounded(math.prod(cast("tuple[int, ...]", torch.broadcast_shapes(a.shape, other.shape))))
        return function(a, other)

    return apply


def _clip(tensor: Tensor, *, low: float, high: float) -> Tensor:
    return tensor.clamp(low, high)


def _unary(function: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda tensor: function(tensor)  # a second input would be taken for an option, such as ``inplace``


def _bounded(number: int, most: int = _MAX_ELEMENTS, what: str = "elements in a step") -> None:
    if number > most:
        raise ValueError(f"it has {number:,} {what}, and at most {most:,} are read")


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "conv": _conv,
    "add": _elementwise(torch.add),
    "sub": _elementwise(torch.sub),
    "mul": _elementwise(torch.mul),
    "div": _elementwise(torch.div),
    "reverse sub": _elementwise(torch.rsub),
    "maximum": _elementwise(torch.maximum),
    "minimum": _elementwise(torch.minimum),
    "clip": _clip,
    "relu": _unary(F.relu),
    "silu": _unary(F.silu),
    "mish": _unary(F.mish),
    "sigmoid": _unary(torch.sigmoid),
    "tanh": _unary(torch.tanh),
    "softplus": _unary(F.softplus),
    "concat": lambda *tensors: torch.cat(tensors, 1),
    "pixel shuffle": F.pixel_shuffle,
    "identity": _unary(torch.Tensor.clone),
}
"""The operations of graphs. Tensors are (B, C, H, W), and constants of any shape that can be broadcast to that."""
