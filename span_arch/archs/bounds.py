"""Bounds on activations, so that no image makes a network explode.

The attention of the family multiplies features by features. Block after block, it is a polynomial of high degree of the image. On
photographs features stay within a narrow range; on patterns of one pixel, such as aliased text, they leave it, and every block amplifies
the last, to thousands of times full scale. So the output of each attention block is clamped, channel by channel, to the range that it has
on natural images.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from .._util.text import join_words
from ..errors import DOWNLOAD_AGAIN, WeightsError

Limits = Mapping[str, tuple[Tensor, Tensor]]
"""The lowest and the highest value of each channel, both (c,), by the path of each `Bound` of a network."""


class Bound(nn.Module):
    """Clamp each channel to its limits: (B, c, H, W) -> (B, c, H, W). Without limits, pass the values on.

    The limits, (1, c, 1, 1), are not in the state dict, because other programs refuse keys that they do not know.
    """

    low: Tensor | None
    high: Tensor | None

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("low", None, persistent=False)
        self.register_buffer("high", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.low is None or self.high is None:
            return x
        return torch.minimum(torch.maximum(x, self.low), self.high)  # ONNX and ncnn only clamp to single numbers


def bounds_of(network: nn.Module) -> dict[str, Bound]:
    """Return the bounds of a network by their paths, in the order of its modules."""
    return {path: module for path, module in cast("Iterable[tuple[str, nn.Module]]", network.named_modules()) if isinstance(module, Bound)}


def limits_of(network: nn.Module) -> Limits | None:
    """Return the limits of a network, None if it is not bounded."""
    limits: dict[str, tuple[Tensor, Tensor]] = {}
    for path, bound in bounds_of(network).items():
        if bound.low is not None and bound.high is not None:
            limits[path] = bound.low.flatten(), bound.high.flatten()
    return limits or None


def set_limits(network: nn.Module, limits: Limits | None) -> None:
    """Bound a network in place, or with None, remove its bounds.

    Raises:
        WeightsError: there are not as many limits as bounds, or as values as channels, or a low one is above the high one.
    """
    bounds = bounds_of(network)
    if limits is not None and set(limits) != set(bounds):
        named = (join_words(list(paths), "and")[:300] if paths else "nothing" for paths in (limits, bounds))
        raise WeightsError("The activation limits are for {}, but the network has {}. {}".format(*named, DOWNLOAD_AGAIN))
    for path, bound in bounds.items():
        if limits is None:
            bound.low = bound.high = None
            continue
        low, high = limits[path]
        if low.shape != (bound.channels,) or high.shape != (bound.channels,) or not bool((low <= high).all()):
            raise WeightsError(
                f"The activation limits of {path} have the shapes {tuple(low.shape)} and {tuple(high.shape)}, or a low one is above "
                f"its high one. Expected {bound.channels} values each. {DOWNLOAD_AGAIN}"
            )
        bound.low, bound.high = (side.float().view(1, -1, 1, 1) for side in (low, high))


def limits_text(limits: Limits) -> str:
    """Return limits as JSON, for the metadata of a file."""
    return json.dumps({path: [[float(f"{float(value):.9g}") for value in side] for side in sides] for path, sides in limits.items()})


def parse_limits(text: str) -> Limits:
    """Return the limits that `limits_text` wrote.

    Raises:
        ValueError: the text is not valid.
    """
    try:
        found: Any = json.loads(text)
        return {path: (torch.tensor(low).float(), torch.tensor(high).float()) for path, (low, high) in found.items()}
    except (AttributeError, TypeError, RuntimeError, RecursionError) as error:
        raise ValueError(f"not limits by path: {error}") from error
