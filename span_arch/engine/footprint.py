"""How much memory a network needs, found by running it where tensors have shapes and no contents."""

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

_SIDE = 64
"""Of the square that is tried: larger than any window a network works in."""


@dataclass(frozen=True)
class Footprint:
    """Bytes per pixel of the input, in float32, weights aside."""

    peak: float
    """The most that a forward pass holds at one time."""
    activation: float
    """The tensors that it makes most of."""


def footprint(model: Model) -> Footprint:
    """Finds out what a forward pass needs. Where it cannot be known, the answer is what ComfyUI assumes of any network."""
    try:
        with torch.device("meta"), _Tally() as tally, torch.no_grad():
            private = copy.deepcopy(model.model).to("meta", torch.float32)
            image = torch.empty(1, model.input_channels, _SIDE, _SIDE, dtype=torch.float32)
            tally.start()
            private(image)
    except Exception:  # a network of whatever origin, in a place where it never was: anything may be raised
        return Footprint(peak=384.0 * 3 * 4 * model.scale, activation=64.0 * 4)
    return Footprint(peak=tally.peak / _SIDE**2, activation=max(tally.made, key=lambda size: size * tally.made[size]) / _SIDE**2)


class _Tally(TorchDispatchMode):
    """Keeps count of the bytes of all storages that are alive, and of how many were made of each size."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._now = 0
        self.made: Counter[int] = Counter()
        self._alive: dict[int, Any] = {}

    def start(self) -> None:
        """Forgets what there was so far, such as the weights."""
        self.peak = self._now = 0
        self.made.clear()

    def __torch_dispatch__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata  # pyright: ignore[reportPrivateUsage]  # on the meta device there is no address to tell storages apart
        if key in self._alive:
            return
        size = storage.nbytes()
        self.made[size] += 1
        self._now += size
        self.peak = max(self.peak, self._now)

        def gone(_: object) -> None:
            del self._alive[key]
            self._now -= size

        self._alive[key] = weakref.ref(storage, gone)
