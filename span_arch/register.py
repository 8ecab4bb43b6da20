"""Teaches spandrel, and so ComfyUI and every other program that loads through it, the whole family."""

from __future__ import annotations

from collections.abc import Callable

from spandrel import MAIN_REGISTRY, ArchId, ArchRegistry, ArchSupport, StateDict

from .archs import span
from .archs._record import Architecture
from .model import SpandrelSupport
from .registry import FAMILY, detect
from .reparam import branched_blocks, fused_keys


def register(registry: ArchRegistry = MAIN_REGISTRY) -> None:
    """Adds the architectures of the family to one of spandrel's registries, by default the one that all loaders use.

    What spandrel could load before, it loads as before: its own SPAN, of six blocks and with branches, stays its own, and what it
    has no architecture for comes to this library. To register twice is as good as once.
    """
    for record in FAMILY:
        # spandrel takes every SPAN with branches for its own, and then fails at those of another size: those must come first.
        before = (ArchId("SPAN"),) if record is span.ARCHITECTURE and "SPAN" in registry else ()
        registry.add(ArchSupport(SpandrelSupport(record), _left_over(record), before), ignore_duplicates=True)


def _left_over(record: Architecture) -> Callable[[StateDict], bool]:
    """Whether a state dict is of that architecture and spandrel cannot load it."""

    def is_ours(state: StateDict) -> bool:
        return detect(state) is record and not (record is span.ARCHITECTURE and _is_spandrels(state))

    return is_ours


def _is_spandrels(state: StateDict) -> bool:
    """Whether a SPAN has the six blocks and the width that spandrel builds, and all branches."""
    keys = fused_keys(state)
    return (
        len(branched_blocks(state)) == 20
        and "block_6.c1_r.eval_conv.weight" in keys
        and "block_7.c1_r.eval_conv.weight" not in keys
        and state["conv_cat.weight"].shape[0] * 4 == state["conv_cat.weight"].shape[1]
    )
