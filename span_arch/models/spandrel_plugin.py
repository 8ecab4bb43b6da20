"""Register the family with spandrel, so that ComfyUI and every other program that loads models through spandrel can load it."""

from __future__ import annotations

from collections.abc import Callable

from spandrel import MAIN_REGISTRY, ArchId, ArchRegistry, ArchSupport, StateDict

from ..archs import span
from ..archs.record import Architecture
from ..archs.registry import FAMILY, detect
from .build import SpandrelSupport


def register(registry: ArchRegistry = MAIN_REGISTRY) -> None:
    """Add the architectures of the family to a spandrel registry, by default the one that all loaders share.

    Files that spandrel could load before load as before: SPAN with six blocks and branches stays spandrel's own. This library
    loads the files that spandrel cannot. Registering twice changes nothing.
    """
    spandrel_span = registry.get("SPAN")
    for record in FAMILY:
        rival = spandrel_span if record is span.ARCHITECTURE else None
        # spandrel detects every SPAN with branches as its own, and then fails to load those of another size. Ours must come first.
        before = () if rival is None else (ArchId("SPAN"),)
        registry.add(ArchSupport(SpandrelSupport(record), _detector(record, rival), before), ignore_duplicates=True)


def _detector(record: Architecture, rival: ArchSupport | None) -> Callable[[StateDict], bool]:
    """Return a function that detects the state dicts of an architecture that its rival in spandrel cannot load."""

    def is_ours(state: StateDict) -> bool:
        return detect(state) is record and (rival is None or not _loads(rival, state))

    return is_ours


def _loads(support: ArchSupport, state: StateDict) -> bool:
    """Return True if spandrel detects and loads a state dict. The only way to know is to try."""
    try:
        if not support.detect(state):
            return False
        support.architecture.load(dict(state))  # a copy, because loading may add keys
    except Exception:  # spandrel asserts what it expects, or fails at it in any other way
        return False
    return True
