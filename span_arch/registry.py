"""The family, and how a state dict finds its member."""

from __future__ import annotations

from collections.abc import Mapping

from spandrel import MAIN_REGISTRY
from torch import Tensor

from .archs import espan, span, spanf, spanf3, spanplus
from .archs._record import Architecture
from .errors import UnknownArchitectureError
from .reparam import fuse

FAMILY: tuple[Architecture, ...] = (
    span.ARCHITECTURE,
    spanf.ARCHITECTURE,
    espan.ARCHITECTURE,
    spanplus.ARCHITECTURE,
    spanf3.ARCHITECTURE,
)
"""All architectures. Their keys exclude each other, so the order has no meaning."""


def detect(state: Mapping[str, Tensor]) -> Architecture | None:
    """The architecture that a state dict, fused or in its training form, is of; None if it is of none here."""
    fused = fuse(state)
    return next((architecture for architecture in FAMILY if not architecture.missing_keys(fused)), None)


def require(state: Mapping[str, Tensor]) -> Architecture:
    """The architecture of a *fused* state dict.

    Raises:
        UnknownArchitectureError: it is of none. The message names the nearest, and the keys that keep it from being one.
    """
    nearest = min(FAMILY, key=lambda architecture: len(architecture.missing_keys(state)) / len(architecture.keys))
    missing = nearest.missing_keys(state)
    if not missing:
        return nearest
    if len(missing) == len(nearest.keys):
        found = f"found {len(state)} tensors such as '{next(iter(state))}', and none of the keys of a network of the SPAN family"
    else:
        found = f"nearest is {nearest.name}, but {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    other = _other_architecture(state)
    advice = (
        f"It is {other}: load it with 'Load Upscale Model' in ComfyUI, or with spandrel in Python; upscaling takes such a model too."
        if other
        else f"Take a file of {' or '.join(architecture.name for architecture in FAMILY)}; if it is one, its download may be incomplete."
    )
    raise UnknownArchitectureError(f"This is no network of the SPAN family: {found}. {advice}")


def _other_architecture(state: Mapping[str, Tensor]) -> str | None:
    ours = {architecture.name for architecture in FAMILY}
    for support in MAIN_REGISTRY.architectures("detection"):
        if support.architecture.id not in ours and support.detect(dict(state)):
            return support.architecture.name
    return None
