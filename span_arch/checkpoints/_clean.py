"""Takes wrappers and strangers off a state dict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from spandrel import canonicalize_state_dict
from torch import Tensor

from ..errors import BrokenCheckpointError
from ._checkpoint import Checkpoint


def clean(checkpoint: Checkpoint) -> Checkpoint:
    """Unwraps ``params_ema``, ``params``, ``state_dict`` and the like, and prefixes such as ``module.``; keeps tensors only.

    Raises:
        BrokenCheckpointError: there are no tensors.
    """
    raw = cast(object, checkpoint.state)  # a pickle may hold anything
    state = cast("dict[object, object]", canonicalize_state_dict(dict(checkpoint.state)) if isinstance(raw, Mapping) else {})
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
