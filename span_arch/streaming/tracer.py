"""Follows the forward pass of a network that looks at the size of its image, as those do that pad it and crop the result."""

from __future__ import annotations

import math
import operator
from typing import Any

from torch import fx

_ON_SIZES = (operator.getitem, operator.mod, operator.mul, operator.sub)


class Tracer(fx.Tracer):
    """Follows the forward pass of images that are a multiple of what a network asks for before it pads them."""

    def __init__(self) -> None:
        super().__init__()
        self.multiple = 1

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Whether there is a remainder: no, by what is said of the images. Other questions have no answer while a network is traced."""
        divisor = obj.node.args[1] if obj.node.target is operator.mod and is_size(obj.node) else None
        if not isinstance(divisor, int) or divisor < 1:
            return super().to_bool(obj)
        self.multiple = math.lcm(self.multiple, divisor)
        return False


def is_size(argument: Any) -> bool:
    """Whether it is made of whole numbers and of the sides of the image alone."""
    if not isinstance(argument, fx.Node):
        return isinstance(argument, int)
    if argument.target in ("size", getattr):
        return isinstance(argument.args[0], fx.Node) and argument.args[0].op == "placeholder" and argument.args[1:] in ((), ("shape",))
    return argument.target in _ON_SIZES and all(map(is_size, argument.args)) and not argument.kwargs


def sides_of(part: Any, axis: int) -> int | None:
    """How many times the side of the image along an axis a slice goes up to; None if it is another slice."""
    if not isinstance(part, slice) or part.start is not None or part.step is not None or not isinstance(part.stop, fx.Node):
        return None
    side, times = (part.stop.args[0], part.stop.args[1]) if part.stop.target is operator.mul else (part.stop, 1)
    if not isinstance(side, fx.Node) or not isinstance(times, int) or not is_size(side):
        return None
    return times if side.target is operator.getitem and side.args[1] == axis else None
