"""Removal of wrappers, and of all that is not a tensor, from what readers return."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast

from spandrel import canonicalize_state_dict
from torch import Tensor

from ..errors import BrokenCheckpointError
from .checkpoint import Checkpoint

_LONGEST_PATH = 1000
"""Characters in the path of a dict within dicts. Deeper ones are left out."""


def keep_tensors(checkpoint: Checkpoint) -> Checkpoint:
    """Keep tensors only: grouped by the dict that holds them, and as the state dict that spandrel would unwrap.

    Raises:
        BrokenCheckpointError: there are no tensors.
    """
    state = _unwrapped(checkpoint.state)
    tensors = {key: value for key, value in state.items() if isinstance(key, str) and isinstance(value, Tensor)}
    groups = group_tensors(checkpoint.state)
    if not groups and checkpoint.graph is None:
        keys = ", ".join(repr(key)[:60] for key in list(state)[:5])
        found = f"the keys {keys}" if state else f"a {type(checkpoint.state).__name__} without any content"
        raise BrokenCheckpointError(
            f"{checkpoint.path} holds no weights. It has {found}, not a state dict of tensors. An optimiser's file or a whole training run "
            "cannot be loaded: choose the network's own file."
        )
    return replace(checkpoint, state=tensors, groups=groups)


def group_tensors(raw: object) -> dict[str, dict[str, Tensor]]:
    """Return the tensors in dicts and lists at any depth, by the path of their container and their key in it. Each is visited once."""
    groups: dict[str, dict[str, Tensor]] = {}
    seen: set[int] = set()
    waiting: list[tuple[str, object]] = [("", raw)]
    while waiting:
        path, container = waiting.pop()
        if id(container) in seen or len(path) > _LONGEST_PATH:
            continue
        seen.add(id(container))
        inner: list[tuple[str, object]] = []
        for key, value in _items(container):
            if isinstance(value, Tensor):
                groups.setdefault(path, {})[key] = value.detach()
            elif isinstance(value, (dict, list, tuple)):
                inner.append((f"{path}.{key}" if path else key, cast(object, value)))
        waiting += reversed(inner)  # in the order of the file
    return groups


def _items(container: object) -> Iterable[tuple[str, object]]:
    """Return what a container of a pickle holds, with text as keys. An attribute of the pickle may cover ``container.items``."""
    if isinstance(container, dict):
        return ((key, value) for key, value in cast("Any", dict).items(container) if isinstance(key, str))
    return ((str(i), value) for i, value in enumerate(cast("list[object]", container))) if isinstance(container, (list, tuple)) else ()


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
