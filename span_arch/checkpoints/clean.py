"""Takes wrappers and strangers off a state dict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from spandrel import canonicalize_state_dict
from torch import Tensor

from ..errors import BrokenCheckpointError
from .checkpoint import Checkpoint


def clean(checkpoint: Checkpoint) -> Checkpoint:
    """Unwraps ``params_ema``, ``params``, ``state_dict`` and the like, and prefixes such as ``module.``; keeps tensors only.

    Raises:
        BrokenCheckpointError: there are no tensors.
    """
    state = _unwrapped(checkpoint.state)
    tensors = {key: value for key, value in state.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not tensors and checkpoint.graph is None:
        found = (
            f"the keys {', '.join(repr(key)[:60] for key in list(state)[:5])}"
            if state
            else f"a {type(checkpoint.state).__name__} without any content"
        )
        raise BrokenCheckpointError(
            f"'{checkpoint.path}' holds no weights: found {found}, expected a state dict of tensors. "
            "Files of optimisers or of whole training runs are of no use here: take the network's own file."
        )
    return replace(checkpoint, state=tensors)


def _unwrapped(raw: object) -> dict[object, object]:
    """A pickle may hold anything, and under any keys."""
    if not isinstance(raw, dict):
        return {}
    items = cast("Any", dict).items(raw)  # by the class: a pickle may cover a method with an attribute
    plain: dict[object, object] = dict(items)
    try:
        return dict(cast("dict[object, object]", canonicalize_state_dict(cast("dict[str, Any]", plain))))
    except (AttributeError, TypeError):  # of keys that are no text, in here or in a wrapper
        return plain
