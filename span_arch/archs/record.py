"""The record that declares an architecture, and helpers to read hyperparameters."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from .._util.text import join_words
from ..errors import DOWNLOAD_AGAIN, WeightsError
from .normalisation import Normalisation

CHANNELS = (3, 1, 4)
"""The numbers of channels that an image may have, the most common first."""

SCALES = (1, 2, 3, 4, 8)
"""The scales that networks of the family are published with."""

_BLOCK_NUMBER = re.compile("0|[1-9][0-9]{0,8}")


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """An architecture: how to recognise one of its state dicts, and how to build its network.

    All keys are those of the *fused* state dict. Training files are fused before a record sees them.
    """

    name: str
    """The name in the paper or the authors' code."""
    module: Callable[..., nn.Module]
    """Builds the network. Takes the hyperparameters as keyword arguments, plus ``normalisation`` and ``conv`` (see below)."""
    keys: tuple[str, ...]
    """Every state dict of this architecture has all of these keys, and no state dict of another architecture does."""
    hyperparameters: Callable[[Mapping[str, Tensor]], dict[str, Any]]
    """Reads the hyperparameters from the keys and shapes of a fused state dict. May raise `WeightsError`.

    They always include ``in_channels``, ``out_channels``, ``feature_channels``, ``scale`` and ``blocks``, which is an int, or a
    tuple of ints for blocks in groups. ``unshuffle`` is present if both sides of an image must be a multiple of it.
    """
    normalised: bool
    """True if some of its files expect a normalised image. The module then takes ``normalisation``."""
    normalisation: Normalisation | None = None
    """The normalisation that all of its files expect. None if they differ, or if none expects a normalised image."""
    has_training_form: bool
    """True if it is published with branches too. The module then takes ``conv``, the form of its 3x3 convolutions."""
    examples: tuple[Callable[[int], nn.Module], ...]
    """For each naming of the convolutions, a function that builds the smallest such network with a given number of blocks."""
    others: tuple[Callable[[int], nn.Module], ...] = ()
    """Further examples, of networks whose graphs are never read from ONNX or ncnn files. All examples together have every key."""

    def missing_keys(self, keys: Container[str]) -> list[str]:
        """Return those of the record's keys that a fused state dict lacks. The list is empty for its own state dicts."""
        return [key for key in self.keys if key not in keys]


def count_blocks(state: Mapping[str, Tensor], pattern: str, first: int = 1) -> int:
    """Return how many of the keys ``pattern.format(first)``, ``pattern.format(first + 1)``, ... a state dict has.

    Raises:
        WeightsError: the numbering has a gap.
    """
    prefix, suffix = pattern.split("{}")
    numbers = (key[len(prefix) : -len(suffix)] for key in state if key.startswith(prefix) and key.endswith(suffix))
    found = {int(number) for number in numbers if _BLOCK_NUMBER.fullmatch(number) and int(number) >= first}
    if found and max(found) != first + len(found) - 1:  # a hostile file may number a block 999999999, so only four gaps are listed
        gaps = itertools.islice((i for i in itertools.count(first) if i not in found), min(4, max(found) - len(found) - first + 1))
        missing = ", ".join(map(pattern.format, gaps))
        raise WeightsError(f"The network has {prefix}{max(found)} but lacks {missing}. Expected blocks without a gap. {DOWNLOAD_AGAIN}")
    return len(found)


def scale_and_channels(shuffled: int, in_channels: int) -> tuple[int, int]:
    """Split the ``channels * scale**2`` channels that enter a pixel shuffle, or leave a pixel unshuffle, into (scale, channels).

    The product alone is ambiguous (16 is one channel at x4, or four at x2), so the channels of the input are tried first.

    Raises:
        WeightsError: no number of channels in `CHANNELS` and no scale in `SCALES` give that product.
    """
    for channels in (in_channels, *CHANNELS):
        scale = math.isqrt(shuffled // channels)
        if scale in SCALES and scale**2 * channels == shuffled:
            return scale, channels
    raise WeightsError(
        f"The network shuffles {shuffled} channels into pixels. Expected {join_words([str(n) for n in sorted({in_channels, *CHANNELS})])} "
        f"image channels at a scale of {join_words(list(map(str, SCALES)))}. {DOWNLOAD_AGAIN}"
    )
