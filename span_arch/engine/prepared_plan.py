"""A model made ready for strips: its plan, its weights in the types that they are wanted in, and what it takes of memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import median
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ..models.build import Model
from ..streaming import Plan, Stream, Weights, lay_out, narrowed, plan, weights


def plan_for(model: Model, *, mixed: bool = False) -> Plan | None:
    """The plan to run a model in strips, with a narrower type mixed in or without; None if it cannot be. It is made once."""
    if model.model.training:
        return None  # the graph would be that of training
    plans = _plans.setdefault(model.model, {})
    if mixed not in plans:
        if mixed:
            plain = plan_for(model)
            plans[True] = None if plain is None else narrowed(plain)
        else:
            plans[False] = plan(_Called(model), model.input_channels)
    return plans[mixed]


_plans: WeakKeyDictionary[nn.Module, dict[bool, Plan | None]] = WeakKeyDictionary()


class _Called(nn.Module):
    """What calling a model does, as one network: some do more than their module."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.network = model.model
        self._call: Callable[[nn.Module, Tensor], Tensor] = model._call_fn  # pyright: ignore[reportPrivateUsage]

    def forward(self, image: Tensor) -> Tensor:
        return self._call(self.network, image)


class Arithmetic:
    """A model in some types on a device.

    Args:
        model: fused, and one that `plan_for` has a plan for.
        device: where to compute.
        dtype: of the arithmetic; of what is not in bfloat16, if that is mixed in.
        mixed: whether bfloat16 is mixed in.
    """

    def __init__(self, model: Model, device: torch.device, dtype: torch.dtype, mixed: bool) -> None:
        found = plan_for(model, mixed=mixed)
        assert found is not None
        self.plan, self.name = found, "bfloat16 and float32" if mixed else str(dtype).removeprefix("torch.")
        self._model, self._device, self._dtype = model, device, dtype
        self._narrow = torch.bfloat16 if mixed else dtype
        self._weights: Weights | None = None

    @property
    def pixel_bytes(self) -> float:
        """Of a usual value, for every pixel of the image."""
        sizes = [(self._narrow if value.narrow else self._dtype).itemsize * value.channels * value.rate**2 for value in self.plan.values]
        return float(median(sizes))

    def bytes(self, strip: int, width: int) -> int:
        """That a strip takes."""
        unit = self.plan.unit
        strip, width = (math.ceil(side / unit) * unit for side in (strip, width))
        return lay_out(self.plan, strip, width, self._dtype.itemsize, self._narrow.itemsize).bytes

    def stream(self, height: int, width: int, strip: int) -> Stream:
        """A stream for images of a size."""
        if self._weights is None:
            self._weights = weights(self.plan, _Called(self._model), self._device, self._dtype, self._narrow)
        return Stream(self.plan, self._weights, height, width, strip, self._device, self._dtype, self._narrow)
