"""The list of all architectures, and detection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from spandrel import MAIN_REGISTRY, ArchSupport
from torch import Tensor

from .._util.text import join_words
from ..errors import DOWNLOAD_AGAIN, UnknownArchitectureError
from . import espan, span, spanf, spanf3, spanplus
from .foreign import explain_foreign
from .record import Architecture
from .reparam import fused_keys

FAMILY: tuple[Architecture, ...] = tuple(module.ARCHITECTURE for module in (span, spanf, espan, spanplus, spanf3))
"""All architectures. Their keys exclude each other, so the order does not matter."""

SPANDREL_IDS = frozenset(f"span-upscale/{architecture.name}" for architecture in FAMILY)
"""The ids of these architectures in spandrel's registry. The prefix keeps them apart from spandrel's own."""


def detect(keys: Iterable[str]) -> Architecture | None:
    """Return the architecture of a state dict, or of its keys, in either form. Return None if it is not of the family."""
    fused = fused_keys(keys)
    return next((architecture for architecture in FAMILY if not architecture.missing_keys(fused)), None)


def has_family_keys(keys: Iterable[str]) -> bool:
    """Return True if a state dict has at least one of the keys that any architecture here is recognised by."""
    fused = fused_keys(keys)
    return any(len(architecture.missing_keys(fused)) < len(architecture.keys) for architecture in FAMILY)


def require_architecture(state: Mapping[str, Tensor], subject: str = "The state dict") -> Architecture:
    """Return the architecture of a state dict, which error messages call ``subject``.

    Raises:
        UnknownArchitectureError: it is not of the family. The message names the closest architecture and its missing keys.
    """
    if (found := detect(state)) is not None:
        return found
    reason = _kind_of(state) or _difference(state)
    raise UnknownArchitectureError(f"{subject} is not a SPAN-family checkpoint. {reason}")


def detect_other(state: Mapping[str, Tensor]) -> ArchSupport | None:
    """Return the first architecture outside the family that spandrel knows and that recognises a state dict."""
    ours = SPANDREL_IDS | {"SPAN"}
    others = (support for support in MAIN_REGISTRY.architectures("detection") if support.architecture.id not in ours)
    return next((support for support in others if _recognises(support, state)), None)


def _recognises(support: ArchSupport, state: Mapping[str, Tensor]) -> bool:
    try:
        return support.detect(dict(state))
    except Exception:  # shapes that no network has may raise anything
        return False


def _kind_of(state: Mapping[str, Tensor]) -> str | None:
    """Say what a foreign file is and what to do with it, or return None for an unknown one."""
    other = detect_other(state)
    if other is not None:
        return f"It is {other.architecture.name}, another architecture. Open its .safetensors or .pth file with span_arch.load."
    return explain_foreign(state)


def _difference(state: Mapping[str, Tensor]) -> str:
    keys = fused_keys(state)
    choices = ((architecture.missing_keys(keys), architecture) for architecture in FAMILY)
    missing, closest = min(choices, key=lambda choice: len(choice[0]) / len(choice[1].keys))
    if len(missing) < len(closest.keys):
        verb = "is" if len(missing) == 1 else "are"
        return f"The closest architecture is {closest.name}, but {', '.join(missing)} {verb} missing. {DOWNLOAD_AGAIN}"
    found = f"{len(state)} tensor{'s' * (len(state) > 1)}, such as '{next(iter(state))}'" if state else "no tensors"
    names = join_words([architecture.name for architecture in FAMILY])
    return f"It has {found}, and none of the family's keys. Choose a {names} checkpoint."
