"""Teaches spandrel, and so ComfyUI and every other program that loads through it, the whole family."""

from __future__ import annotations

from collections.abc import Callable

from spandrel import MAIN_REGISTRY, ArchId, ArchRegistry, ArchSupport, StateDict

from ..archs import span
from ..archs.record import Architecture
from ..archs.registry import FAMILY, detect
from .build import SpandrelSupport


def register(registry: ArchRegistry = MAIN_REGISTRY) -> None:
    """Adds the architectures of the family to one of spandrel's registries, by default the one that all loaders use.

    What spandrel could load before, it loads as before: its own SPAN, of six blocks and with branches, stays its own, and what it
    cannot load comes to this library. To register twice is as good as once.
    """
    theirs = registry.get("SPAN")
    for record in FAMILY:
        rival = theirs if record is span.ARCHITECTURE else None
        # spandrel takes every SPAN with branches for its own, and then fails at those of another size: those must come first.
        before = () if rival is None else (ArchId("SPAN"),)
        registry.add(ArchSupport(SpandrelSupport(record), _left_over(record, rival), before), ignore_duplicates=True)


def _left_over(record: Architecture, rival: ArchSupport | None) -> Callable[[StateDict], bool]:
    """Whether a state dict is of that architecture and spandrel cannot load it."""

    def is_ours(state: StateDict) -> bool:
        return detect(state) is record and (rival is None or not _loads(rival, state))

    return is_ours


def _loads(support: ArchSupport, state: StateDict) -> bool:
    """Whether an architecture of spandrel's takes a state dict and can load it. The only way to know is to try."""
    try:
        if not support.detect(state):
            return False
        support.architecture.load(dict(state))  # a copy, since loading may add keys
    except Exception:  # of any kind: it only asserts, or stumbles over, what it expects
        return False
    return True
