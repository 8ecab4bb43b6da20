"""Models of every other architecture that spandrel knows, from tensors that our readers have read.

spandrel reads sizes from keys and shapes and builds the network that they ask for. A hostile file may ask for anything, so numbers in keys
and the memory for the network are limited. Nothing in a file is executed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from spandrel import ArchSupport, canonicalize_state_dict
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .._util.process import ignored_warnings
from .._util.text import first_line
from ..archs.normalisation import Normalisation
from ..archs.registry import detect, detect_other
from ..errors import DOWNLOAD_AGAIN, OptionError, UnknownArchitectureError, WeightsError
from .build import Model, Source
from .check_weights import check_stored

_LARGE_NUMBER = re.compile(r"\d{5,}")
"""Matches numbers above those of the blocks of any network."""
_MOST, _SPARE = 8, 1 << 28
"""A network may take this many times the bytes of its file, which may be float16, and these in addition, for tables."""
_TAKES_MORE = {
    "Inpainting": "fills in the masked parts of an image, and needs a mask",
    "FaceSR": "restores faces that were cut out and aligned",
}
"""What models do that do not turn an image of any kind into an image, by spandrel's purpose."""


def load_other(state: Mapping[str, Any], subject: str, normalise: Normalisation | str | None = "auto") -> Model | None:
    """Load a state dict of an architecture that spandrel knows: float32, on the CPU, in evaluation mode.

    Args:
        state: tensors by attribute path. Not changed.
        subject: what messages call the state dict.
        normalise: as for `load`, parsed. Only ``"auto"`` is possible.

    Returns:
        The model, or None if the state dict is of the SPAN family or of nothing that spandrel knows.

    Raises:
        WeightsError: the weights are missing, unexpected, misshapen or not finite.
        UnknownArchitectureError: the model needs more than an image.
        OptionError: a normalisation is given.
    """
    plain: dict[str, Any] = canonicalize_state_dict(dict(state))
    support = None if detect(plain) else detect_other(plain)
    if support is None:
        return None
    name = support.architecture.name
    model: Any = _built(support, plain, f"{subject} is {_article(name)} checkpoint")
    if (needs := _TAKES_MORE.get(model.purpose)) is not None:
        raise UnknownArchitectureError(
            f"{subject} is {_article(name)} model, which {needs}. Expected a model that upscales or restores any image."
        )
    if normalise != "auto":
        raise OptionError(f"The normalisation {normalise} does not apply: {name} models take images as they are. Use 'auto'.")
    model.model.eval().requires_grad_(False)
    loaded: Model = model
    return loaded


def set_source(model: Model, source: Source) -> None:
    """Note the file that a model of another family was loaded from, for `source_of`."""
    noted: Any = model
    noted.source = source


def source_of(model: Model) -> Source | None:
    """Return the file that a model of any family was loaded from, if this library loaded it."""
    return getattr(model, "source", None)


def _built(support: ArchSupport, state: Mapping[str, Any], subject: str) -> Any:
    if numbers := [found[0] for key in state if (found := _LARGE_NUMBER.search(key))]:
        raise WeightsError(f"{subject} whose keys count to {numbers[0][:20]}. Expected numbers below 10,000. {DOWNLOAD_AGAIN}")
    size = check_stored(state, subject)
    try:
        with ignored_warnings(), torch.device("cpu"), _LimitedMemory(_MOST * size + _SPARE):
            return support.architecture.load(dict(state))
    except Exception as error:  # spandrel asserts what it expects, or fails at it in any other way
        raise WeightsError(f"{subject} with faulty weights: {_reason(error)}. {DOWNLOAD_AGAIN}") from error


class _LimitedMemory(TorchFunctionMode):
    """Within its block, new tensors may take a number of bytes in all. Results of operations on tensors are not counted."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._left = most

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and not any(isinstance(value, Tensor) for value in args):
            self._left -= result.untyped_storage().nbytes()
            if self._left < 0:
                raise MemoryError("its network would take many times the memory of its weights")
        return result


def _reason(error: Exception) -> str:
    """Return the cause in one line. torch lists all differing keys on lines of their own, after a headline."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[1] if len(lines) > 1 else first_line(error))[:300].rstrip(". ")


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
