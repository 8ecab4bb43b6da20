"""Where in a file's keys the keys of a network begin."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def prefixes(keys: Collection[str], wanted: Sequence[str]) -> list[str]:
    """Return each prefix, empty or ending in a dot, under which all wanted keys are among the keys. The first wanted key must be rare."""
    rare, *others = wanted
    starts = (key[: -len(rare)] for key in keys if key.endswith(rare))
    return [start for start in starts if (not start or start.endswith(".")) and all(start + key in keys for key in others)]
