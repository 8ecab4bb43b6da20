"""The one policy for failures of a network while it runs.

Out of memory shrinks the piece that failed. A result that is NaN or infinite, or whose features reach their limits, is redone in
float32. Finished work is never redone.
Failures are values here, so that the runners decide what to do outside of ``except``, where the traceback no longer holds memory.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import TypeVar

import torch

from .._util import memory
from ..errors import NotFiniteError, OutOfMemoryError
from ..models.build import Model
from .report import Recovered

T = TypeVar("T")


class Failure(Enum):
    """The reason why an attempt gave no result."""

    OUT_OF_MEMORY = auto()
    NOT_FINITE = auto()
    SATURATED = auto()


class NotFinite(Exception):
    """The result of an attempt is NaN or infinite. It is raised within the attempt."""


class Saturated(Exception):
    """So many features reach their limits that rounding may change the result. It is raised within the attempt."""


class Recovery:
    """A recorder of attempts and their failures. It raises the error when nothing smaller or more exact is left to try."""

    def __init__(self, model: Model, device: torch.device, give_back: Callable[[torch.device], None] = memory.give_back) -> None:
        self._architecture, self._device, self._give_back = model.architecture.name, device, give_back
        self.recovered = Recovered()

    def attempt(self, work: Callable[[], T]) -> T | Failure:
        """Return what ``work`` returns, or why it failed. All other exceptions pass through."""
        try:
            return work()
        except NotFinite:
            return Failure.NOT_FINITE
        except Saturated:
            return Failure.SATURATED
        except (RuntimeError, MemoryError) as error:
            if not memory.is_out_of_memory(error):
                raise
            return Failure.OUT_OF_MEMORY

    def out_of_memory(self) -> None:
        """Count a failure and return cached memory. Call it once the failed attempt holds nothing any more."""
        self.recovered += Recovered(out_of_memory=1)
        self._give_back(self._device)

    def not_finite(self, dtype: torch.dtype) -> None:
        """Count a failure that a run in float32 may avoid.

        Raises:
            NotFiniteError: it was in float32 already.
        """
        if dtype is torch.float32:
            raise NotFiniteError(
                f"The network ({self._architecture}) gives NaN or infinity for a part of this image, even in float32. Its weights are "
                "damaged, or the image has values far outside 0..1."
            )
        self.recovered += Recovered(not_finite=1)

    def saturated(self) -> None:
        """Count a piece that is redone in float32 because of its saturation."""
        self.recovered += Recovered(saturated=1)

    def exhausted(self, height: int, width: int) -> OutOfMemoryError:
        """Return the error for a piece that does not fit and cannot be made smaller."""
        return OutOfMemoryError(
            f"There is not enough memory on '{self._device}' even for a piece of {width}x{height} pixels. Close other programs, unload "
            "other models, or choose another device."
        )
