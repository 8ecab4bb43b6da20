"""Removal of wrappers, and of all that is not a tensor, from a state dict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from spandrel import canonicalize_state_dict
from torch import Tensor

from ..errors import BrokenCheckpointError
from .checkpoint import Checkpoint


def keep_tensors(checkpoint: Checkpoint) -> Checkpoint:
    """Unwrap ``params_ema``, ``params``, ``state_dict`` and the like, remove prefixes such as ``module.``, and keep tensors only.

    Raises:
        BrokenCheckpointError: there are no tensors.
    """
    state = _unwrapped(checkpoint.state)
    tensors = {key: value for key, value in state.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not tensors and checkpoint.graph is None:
        keys = ", ".join(repr(key)[:60] for key in list(state)[:5])
        found = f"the keys {keys}" if state else f"a {type(checkpoint.state).__name__} without any content"
        raise BrokenCheckpointError(
            f"{checkpoint.path} holds no weights. It has {found}, not a state dict of tensors. An optimiser's file or a whole training run "
            "cannot be loaded: choose the network's own file."
        )
    return replace(checkpoint, state=tensors)


def _unwrapped(raw: object) -> dict[object, object]:
    """Return the innermost dict of a pickle, which may hold anything under any keys."""
    if not isinstance(raw, dict):
        return {}
    items = cast("Any", dict).items(raw)  # not raw.items(), which an attribute of the pickle may cover
    plain: dict[object, object] = dict(items)
    try:
        return dict(cast("dict[object, object]", canonicalize_state_dict(cast("dict[str, Any]", plain))))
    except (AttributeError, TypeError):  # a key that is not text, here or in a wrapper
        return plain
