"""The family, and how a state dict finds its member."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from spandrel import MAIN_REGISTRY
from torch import Tensor

from ..errors import UnknownArchitectureError
from . import espan, foreign, span, spanf, spanf3, spanplus
from .record import Architecture
from .reparam import fused_keys

FAMILY: tuple[Architecture, ...] = (
    span.ARCHITECTURE,
    spanf.ARCHITECTURE,
    espan.ARCHITECTURE,
    spanplus.ARCHITECTURE,
    spanf3.ARCHITECTURE,
)
"""All architectures. Their keys exclude each other, so the order has no meaning."""

SPANDREL_IDS = frozenset(f"span-upscale/{architecture.name}" for architecture in FAMILY)
"""What spandrel calls them once it has been taught: names that no architecture of its own will ever have."""


def detect(keys: Iterable[str]) -> Architecture | None:
    """The architecture that a state dict, fused or in its training form, is of; None if it is of none here. The keys will do."""
    fused = fused_keys(keys)
    return next((architecture for architecture in FAMILY if not architecture.missing_keys(fused)), None)


def resembles(keys: Iterable[str]) -> bool:
    """Whether a state dict has at least one key by which an architecture here is recognised."""
    fused = fused_keys(keys)
    return any(len(architecture.missing_keys(fused)) < len(architecture.keys) for architecture in FAMILY)


def require(state: Mapping[str, Tensor]) -> Architecture:
    """The architecture that a state dict is of.

    Raises:
        UnknownArchitectureError: it is of none. The message names the nearest, and the keys that keep it from being one.
    """
    found = detect(state)
    if found is not None:
        return found
    keys = fused_keys(state)
    nearest = min(FAMILY, key=lambda architecture: len(architecture.missing_keys(keys)) / len(architecture.keys))
    missing = nearest.missing_keys(keys)
    if not state:
        reason = "found no tensors at all"
    elif len(missing) == len(nearest.keys):
        found_text = f"{len(state)} tensors such as" if len(state) > 1 else "one tensor,"
        reason = f"found {found_text} '{next(iter(state))}', and none of the keys of a network of the SPAN family"
    else:
        reason = f"nearest is {nearest.name}, but {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    raise UnknownArchitectureError(f"This is no network of the SPAN family: {reason}. {_advice(state)}")


def _advice(state: Mapping[str, Tensor]) -> str:
    upscaler = next(
        (support.architecture.name for support in MAIN_REGISTRY.architectures("detection")
         if support.architecture.id not in SPANDREL_IDS and support.architecture.id != "SPAN" and support.detect(dict(state))),
        None,
    )  # fmt: skip
    if upscaler is not None:
        return (
            f"It is {upscaler}: load it with 'Load Upscale Model' in ComfyUI, or with spandrel in Python; upscaling takes such a model too."
        )
    return foreign.explain(state) or (
        f"Take a file of {' or '.join(architecture.name for architecture in FAMILY)}; if it is one, its download may be incomplete."
    )
