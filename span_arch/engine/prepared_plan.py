"""A model prepared for row streaming: its plan, its weights in their types, and the memory that a strip takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import median
from weakref import WeakKeyDictionary

import torch
from torch import nn

from ..models.build import Model
from ..models.spandrel_compat import CalledNetwork
from ..streaming import Plan, Stream, Weights, gather_weights, lay_out, narrowed, plan_network
from ..streaming.receptive_field import ReceptiveField, find_receptive_field
from .precision import Arithmetic


def plan_for(model: Model, *, mixed: bool = False) -> Plan | None:
    """Return the plan to run a model in strips, made once; None if it cannot. ``mixed`` runs inner convolutions in a narrower type."""
    if model.model.training:
        return None  # the graph would be that of training
    plans = _plans.setdefault(model.model, {})
    if mixed not in plans:
        if mixed:
            plain = plan_for(model)
            plans[True] = None if plain is None else narrowed(plain)
        else:
            plans[False] = plan_network(CalledNetwork(model), model.input_channels)
    return plans[mixed]


def receptive_field_of(model: Model) -> ReceptiveField | None:
    """Return the receptive field of a model, found once; None if it is infinite or unknown."""
    if model.model not in _fields:
        _fields[model.model] = find_receptive_field(CalledNetwork(model))
    return _fields[model.model]


_plans: WeakKeyDictionary[nn.Module, dict[bool, Plan | None]] = WeakKeyDictionary()
_fields: WeakKeyDictionary[nn.Module, ReceptiveField | None] = WeakKeyDictionary()


class PreparedPlan:
    """A plan of a fused model with its weights on a device, in the types of an arithmetic."""

    def __init__(self, model: Model, plan: Plan, device: torch.device, arithmetic: Arithmetic) -> None:
        self.plan, self.arithmetic = plan, arithmetic
        self._model, self._device = model, device
        self._weights: Weights | None = None  # made when first needed: the plan in float32 often never is

    @property
    def pixel_bytes(self) -> float:
        """Bytes that a typical intermediate value takes for each pixel of the image."""
        narrow, wide = self.arithmetic.narrow.itemsize, self.arithmetic.dtype.itemsize
        return float(median((narrow if value.narrow else wide) * value.channels * value.rate**2 for value in self.plan.values))

    def bytes(self, strip: int, width: int) -> int:
        """Return the bytes that a strip of that many rows and columns takes."""
        unit = self.plan.unit
        strip, width = (math.ceil(side / unit) * unit for side in (strip, width))
        return lay_out(self.plan, strip, width, self.arithmetic.dtype.itemsize, self.arithmetic.narrow.itemsize).bytes

    def stream(self, height: int, width: int, strip: int, make: Callable[..., Stream] = Stream) -> Stream:
        """Return a stream for images of a size, in strips of a number of rows."""
        wide, narrow = self.arithmetic.dtype, self.arithmetic.narrow
        if self._weights is None:
            self._weights = gather_weights(self.plan, CalledNetwork(self._model), self._device, wide, narrow)
        return make(self.plan, self._weights, height, width, strip, self._device, wide, narrow)
