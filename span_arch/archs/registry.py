"""The list of all architectures, and detection."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import cache

import torch
from spandrel import MAIN_REGISTRY, ArchSupport
from torch import Tensor

from .._util.text import join_words
from ..errors import DOWNLOAD_AGAIN, UnknownArchitectureError
from . import dscf, espan, span, spanf, spanf3, spanplus, spanv2
from .foreign import explain_foreign, name_lookalike
from .record import Architecture
from .reparam import fused_keys

FAMILY: tuple[Architecture, ...] = tuple(module.ARCHITECTURE for module in (span, spanf, spanv2, espan, spanplus, spanf3, dscf))
"""All architectures. Their keys exclude each other, so the order does not matter."""

SPANDREL_IDS = frozenset(f"span-upscale/{architecture.name}" for architecture in FAMILY)
"""The ids of these architectures in spandrel's registry. The prefix keeps them apart from spandrel's own."""


STATEMENTS = frozenset({"mean", "no_norm"})
"""Keys of a network that state its normalisation. They are not weights."""

_FOREIGN_KINDS = 2
"""The kinds of keys outside the family's vocabulary that make a file another network. Damage rarely makes a second kind."""


def detect(keys: Iterable[str]) -> Architecture | None:
    """Return the architecture of a state dict, or of its keys, in either form. Return None if it is not of the family."""
    fused = fused_keys(keys)
    found = next((architecture for architecture in FAMILY if not architecture.missing_keys(fused)), None)
    return None if found is None or name_lookalike(fused) or len(_outside(fused, (found,))) >= _FOREIGN_KINDS else found


def has_family_keys(keys: Iterable[str]) -> bool:
    """Return True if a state dict has at least one of the keys that any architecture here is recognised by."""
    fused = fused_keys(keys)
    return any(len(architecture.missing_keys(fused)) < len(architecture.keys) for architecture in FAMILY)


def require_architecture(state: Mapping[str, Tensor], subject: str = "The state dict") -> Architecture:
    """Return the architecture of a state dict, which error messages call ``subject``.

    Raises:
        UnknownArchitectureError: it is not of the family. The message names what it is, or the closest architecture and its missing keys.
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
    if (name := name_lookalike(fused_keys(state))) is not None:
        return f"It is {name}, which is not a SPAN network. Choose a {_names()} checkpoint."
    other = detect_other(state)
    if other is not None:
        return f"It is {other.architecture.name}, another architecture. Open its .safetensors or .pth file with span_arch.load."
    return explain_foreign(state)


def _difference(state: Mapping[str, Tensor]) -> str:
    keys = fused_keys(state)
    choices = [(architecture.missing_keys(keys), architecture) for architecture in FAMILY]
    choices = [(missing, architecture) for missing, architecture in choices if len(missing) < len(architecture.keys)]
    if choices:
        missing, closest = min(choices, key=lambda choice: (len(_outside(keys, choice[1:])), len(choice[0]) / len(choice[1].keys)))
        listed, verb = ", ".join(missing), "is" if len(missing) == 1 else "are"
        outside = _outside(keys, FAMILY)
        if len(outside) < _FOREIGN_KINDS:
            return f"The closest architecture is {closest.name}, but {listed} {verb} missing. {DOWNLOAD_AGAIN}"
        lack = f", and lacks {listed}" if missing else ""
        examples = join_words([key[:80] for key in outside[:3]], "and")
        return (
            f"It is another network with keys like those of {closest.name}. It has {examples}, which no SPAN network has{lack}. Choose a "
            f"{_names()} checkpoint."
        )
    found = f"{len(state)} tensor{'s' * (len(state) > 1)}, such as '{next(iter(state))}'" if state else "no tensors"
    return f"It has {found}, and none of the family's keys. Choose a {_names()} checkpoint."


def _names() -> str:
    return join_words([architecture.name for architecture in FAMILY])


def _outside(fused: Collection[str], architectures: Iterable[Architecture]) -> list[str]:
    """Return a key of each kind that no network of some architectures has. Keys that differ by numbers alone are of one kind."""
    known = STATEMENTS.union(*map(_vocabulary, architectures))
    kinds = {_kind(key): key for key in sorted(fused, reverse=True)}
    return sorted(key for kind, key in kinds.items() if kind not in known)


@cache
def _vocabulary(architecture: Architecture) -> frozenset[str]:
    """Return the kinds of all keys that networks of an architecture have."""
    with torch.device("meta"):
        states = [example(3).state_dict() for example in (*architecture.examples, *architecture.others)]
    return frozenset(_kind(key) for state in states for key in state)


def _kind(key: str) -> str:
    """Return what a weight and its bias have in common with those of the same layer in other blocks."""
    return re.sub(r"(?<=block_)\d+|(?<![^.])\d+(?![^.])", "#", key).removesuffix(".weight").removesuffix(".bias")
