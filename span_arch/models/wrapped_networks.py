"""Find the network in a file that holds other things too: several networks, an optimiser, counters, prefixes and wrappers.

Trainers and tools wrap state dicts in many ways: in dicts (``params_ema``), in prefixes (``module.``, ``_orig_mod.``), and in any
combination. This module does not know them. A network is wherever the keys of an architecture have a common prefix. If there are
several, an average of the weights goes before a generator, and a generator before others.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..archs.key_prefixes import prefixes
from ..archs.registry import FAMILY, detect
from ..archs.reparam import fused_keys
from ..errors import CheckpointError

Groups = Mapping[str, Mapping[str, Tensor]]
"""The tensors of a file by the path of the dict that holds them, and by their key in it."""

_BOOKKEEPING = frozenset({"n_averaged", "step", "initted", "num_batches_tracked", "total_ops", "total_params"})
"""Counters that tools store next to weights."""

_MAX_NETWORKS = 64
"""Networks of one dict that are looked at. A hostile file may hold thousands, each within the others."""

_AVERAGES = frozenset({"ema", "swa", "average", "averaged"})
_GENERATORS = frozenset({"g", "gen", "generator", "netg"})
_DISCRIMINATORS = frozenset({"d", "dis", "disc", "discriminator", "netd", "critic"})
_OPTIMISERS = frozenset({"optim", "optimizer", "optimizers", "optimiser", "momentum", "grad", "grads"})
"""Words in names. An optimiser keeps a value for every weight under the weight's own name."""


@dataclass(frozen=True)
class FoundNetwork:
    """A network in a file."""

    name: str
    """The path to it in the file, such as ``params_ema``. Empty for a bare state dict."""
    state: Mapping[str, Tensor]
    average: bool = False
    """True if its neighbour in the file counts averaged steps."""
    others: tuple[str, ...] = ()
    """The names of the other networks of the family in the file."""

    @property
    def rank(self) -> tuple[bool, bool, bool]:
        """Its standing: the file's network is the one with the largest."""
        words = _words(self.name)
        return not words & _DISCRIMINATORS, self.average or bool(words & _AVERAGES), bool(words & _GENERATORS)


def find_network(groups: Groups, subject: str) -> FoundNetwork | None:
    """Return the network of the family among the tensors of a file, or None if there is none.

    Raises:
        CheckpointError: the file holds several networks, and none of them is marked. Messages call the file ``subject``.
    """
    found = _networks(groups) or _networks(_joined(groups))
    if not found:
        return None
    best = [network for network in found if network.rank == max(other.rank for other in found)]
    chosen = best[0]
    if not all(_equal(chosen.state, other.state) for other in best[1:]):
        listed = ", ".join(repr(network.name)[:80] for network in best[:8])
        raise CheckpointError(
            f"{subject} holds {len(best)} networks of equal standing: {listed}. Expected one network, or one that is named as the average "
            "(EMA) or the generator. Save the one that you want to a file of its own."
        )
    others = tuple(network.name for network in found if network is not chosen)
    return FoundNetwork(chosen.name, chosen.state, chosen.average, others)


def closest_state(groups: Groups) -> Mapping[str, Tensor] | None:
    """Return the tensors that share most keys with an architecture, without their prefix, for error messages. None for fewer than two."""
    counts: Counter[tuple[str, str]] = Counter()
    for path, tensors in groups.items():
        fused = fused_keys(tensors)
        for architecture in FAMILY:
            starts = (start for key in architecture.keys for start in prefixes(fused, (key,)))
            counts |= Counter((path, start) for start in sorted(starts))
    for (path, start), count in counts.most_common(1):
        return _members(groups[path], start, [start]) if count > 1 else None
    return None


def _networks(groups: Groups) -> list[FoundNetwork]:
    found: list[FoundNetwork] = []
    for path, tensors in groups.items():
        fused = fused_keys(tensors)
        starts = sorted({start for architecture in FAMILY for start in prefixes(fused, architecture.keys)})
        for start in starts[:_MAX_NETWORKS]:
            name, state = f"{path}.{start}".strip("."), _members(tensors, start, starts)
            parents = (start[: match.end()] for match in re.finditer(r"^|\.", start))
            if not _of_an_optimiser(name) and detect(state) is not None:
                found.append(FoundNetwork(name, state, any(f"{parent}n_averaged" in tensors for parent in parents)))
    return found


def _of_an_optimiser(name: str) -> bool:
    return bool(_words(name) & _OPTIMISERS) or "exp_avg" in name


def _members(tensors: Mapping[str, Tensor], start: str, starts: list[str]) -> dict[str, Tensor]:
    """Return the tensors under a prefix, without it, except counters and the tensors of networks with longer prefixes."""
    inner = tuple(other for other in starts[:_MAX_NETWORKS] if len(other) > len(start) and other.startswith(start))
    return {
        key[len(start) :]: tensor
        for key, tensor in tensors.items()
        if key.startswith(start) and not key.startswith(inner) and key.rpartition(".")[2] not in _BOOKKEEPING
    }


def _joined(groups: Groups) -> Groups:
    """Return all tensors in one group: a file may nest dicts as modules are nested."""
    return {"": {f"{path}.{key}" if path else key: tensor for path, tensors in groups.items() for key, tensor in tensors.items()}}


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[key]) for key, tensor in one.items())


def _words(name: str) -> set[str]:
    """Return the words of a name in lower case: ``netG_ema.module`` gives net, g, ema and module."""
    return set(re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()))
