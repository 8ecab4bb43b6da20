"""The memory that a network needs, measured by running it on tensors that have shapes and no contents."""

from __future__ import annotations

import copy
import weakref
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..models.build import Model
from ..models.spandrel_compat import CalledNetwork

_SIDE = 64
"""Side of the image that is tried, in pixels: larger than any window a network works in."""


@dataclass(frozen=True)
class Footprint:
    """Bytes per pixel of the input, in float32, without the weights."""

    peak: float
    """The most that a forward pass holds at a time."""
    activation: float
    """The size of tensor that takes the largest share of what it allocates."""


def footprint(model: Model) -> Footprint:
    """Measure a forward pass. If that fails, return what ComfyUI assumes of every network."""
    try:
        with torch.device("meta"), AllocationTally() as tally, torch.no_grad():
            network = CalledNetwork(model, copy.deepcopy(model.model).to("meta", torch.float32))
            image = torch.empty(1, model.input_channels, _SIDE, _SIDE, dtype=torch.float32)
            tally.start()
            network(image)
    except Exception:  # networks of others on an unusual device may raise anything
        return Footprint(peak=384.0 * 3 * 4 * model.scale, activation=64.0 * 4)
    return Footprint(peak=tally.peak / _SIDE**2, activation=max(tally.made, key=lambda size: size * tally.made[size]) / _SIDE**2)


class AllocationTally(TorchDispatchMode):
    """A count of the bytes of all live storages, and of the storages made of each size."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._now = 0
        self.made: Counter[int] = Counter()
        self._alive: dict[int, Any] = {}

    def start(self) -> None:
        """Forget the storages so far, such as the weights."""
        self.peak = self._now = 0
        self.made.clear()

    def __torch_dispatch__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata  # pyright: ignore[reportPrivateUsage]  # on the meta device, storages have no address to distinguish them
        if key in self._alive:
            return
        size = storage.nbytes()
        self.made[size] += 1
        self._now += size
        self.peak = max(self.peak, self._now)

        def forget(_: object) -> None:
            del self._alive[key]
            self._now -= size

        self._alive[key] = weakref.ref(storage, forget)
