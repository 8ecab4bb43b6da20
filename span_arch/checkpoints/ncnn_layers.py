"""The layers of ncnn that networks of the SPAN family consist of, and how the text of a graph states them.

The format is that of github.com/Tencent/ncnn (docs/developer-guide/param-and-model-file-structure.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

MAGIC = "7767517"
FLOAT16_FLAG = 0x01306B47
"""Stands before a kernel whose weights are float16."""

CONVOLUTIONS = ("Convolution", "ConvolutionDepthWise")
UNARY = {"Mish": "mish", "ReLU": "relu", "Sigmoid": "sigmoid", "Swish": "silu", "TanH": "tanh"}
"""Operations of one value, by kind of layer."""
BINARY = {0: "add", 1: "sub", 2: "mul", 3: "div", 4: "maximum", 5: "minimum", 7: "reverse sub"}
"""Operations of two values, or of a value and a number, by setting 0 of a ``BinaryOp``."""

_WHOLE = (*CONVOLUTIONS, "MemoryData", "PixelShuffle", "Concat")
"""Layers whose settings are whole numbers."""


@dataclass(frozen=True)
class Layer:
    """A line of a graph."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: Mapping[int, int | float] = field(default_factory=dict[int, "int | float"])

    def __str__(self) -> str:
        settings = " ".join(f"{key}={value:e}" if isinstance(value, float) else f"{key}={value}" for key, value in self.settings.items())
        counts = f"{len(self.inputs)} {len(self.outputs)}"
        return f"{self.kind:<24} {self.name:<24} {counts} {' '.join([*self.inputs, *self.outputs])} {settings}".rstrip()

    @staticmethod
    def parse(words: list[str]) -> Layer:
        """Return the layer that a line states.

        Raises:
            ValueError: the line is not a layer.
            IndexError: it is too short.
        """
        n_inputs, n_outputs = int(words[2]), int(words[3])
        blobs, settings = words[4 : 4 + n_inputs + n_outputs], words[4 + n_inputs + n_outputs :]
        if min(n_inputs, n_outputs) < 0 or len(blobs) != n_inputs + n_outputs:
            raise ValueError(f"'{words[1]}' lacks inputs or outputs")
        numbers = {int(key): float(value) for key, _, value in (word.partition("=") for word in settings) if "," not in value}
        if not all(map(math.isfinite, numbers.values())):
            raise ValueError(f"'{words[1]}' has a setting that is not a number")
        if words[0] in _WHOLE and any(value % 1 for value in numbers.values()):
            raise ValueError(f"'{words[1]}' has a setting that is not a whole number")
        return Layer(words[0], words[1], tuple(blobs[:n_inputs]), tuple(blobs[n_inputs:]), numbers)

    def number(self, key: int, default: int) -> int:
        """Return a setting as a whole number."""
        return int(self.settings.get(key, default))
