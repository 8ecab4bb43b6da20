"""What the library knows of an architecture, as one frozen record, and helpers to read hyperparameters."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..errors import WeightsError

CHANNELS = (3, 1, 4)
"""Channels that an image may have, the usual number first."""

_NUMBER = re.compile("0|[1-9][0-9]{0,8}")

SCALES = (1, 2, 3, 4, 8)
"""Scales that networks of the family are published with."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """How to recognise a network by its state dict, and how to build it.

    All keys are those of the *fused* state dict: a file in its training form is fused before anybody looks at it.
    """

    name: str
    """The name in its paper or code, and of the architecture in spandrel's terms."""
    module: Callable[..., nn.Module]
    """Builds the network from keyword arguments: the hyperparameters, and what the two fields at the end ask for."""
    keys: tuple[str, ...]
    """Every state dict of this architecture has these, and no other architecture's has them all."""
    hyperparameters: Callable[[Mapping[str, Tensor]], dict[str, Any]]
    """Reads them from the keys and shapes of a fused state dict; may raise `WeightsError`.

    They always have ``in_channels``, ``out_channels``, ``feature_channels``, ``scale`` and ``blocks``, an int or, where blocks
    come in groups, a tuple of ints. A network that takes only images whose sides are a multiple of something calls that
    ``unshuffle``.
    """
    normalised: bool
    """Whether files of it may expect a normalised image. If so, the module takes a ``normalisation``."""
    has_training_form: bool
    """Whether it is published with branches, too. If so, the module takes ``conv``, the form of its convolutions."""

    examples: tuple[Callable[[int], nn.Module], ...]
    """For every set of names that convolutions go by: a network with these, as small as can be, with so many blocks."""

    def missing_keys(self, keys: Container[str]) -> list[str]:
        """Those of `keys` that a fused state dict lacks: none, if it is of this architecture."""
        return [key for key in self.keys if key not in keys]


def count_blocks(state: Mapping[str, Tensor], pattern: str, first: int = 1) -> int:
    """How many keys ``pattern.format(first)``, ``pattern.format(first + 1)``, ... ``state`` has.

    Raises:
        WeightsError: there is a gap in the numbering.
    """
    prefix, suffix = pattern.split("{}")
    numbers = (key[len(prefix) : -len(suffix)] for key in state if key.startswith(prefix) and key.endswith(suffix))
    found = {int(number) for number in numbers if _NUMBER.fullmatch(number) and int(number) >= first}
    if found and max(found) != first + len(found) - 1:  # a hostile file may have a block of any number, so gaps are not listed
        gaps = itertools.islice((i for i in itertools.count(first) if i not in found), min(4, max(found) - len(found) - first + 1))
        raise WeightsError(
            f"The file has {prefix}{max(found)} but lacks {', '.join(map(pattern.format, gaps))}. "
            "A network needs all of its blocks: get the file again from its source."
        )
    return len(found)


def scale_and_channels(shuffled: int, in_channels: int) -> tuple[int, int]:
    """Splits the ``channels * scale**2`` that go into a pixel shuffle, or that come out of its inverse.

    The product alone is ambiguous (16 is one channel at x4 or four at x2), so the channels of the input are tried first.

    Returns:
        (scale, channels)

    Raises:
        WeightsError: it is not of that form for any number of channels in `CHANNELS` and any scale in `SCALES`.
    """
    for channels in (in_channels, *CHANNELS):
        scale = math.isqrt(shuffled // channels)
        if scale in SCALES and scale**2 * channels == shuffled:
            return scale, channels
    raise WeightsError(
        f"The network shuffles {shuffled} channels into pixels, which is no image of {in_channels} or of 1, 3 or 4 channels at a "
        f"scale of {', '.join(map(str, SCALES[:-1]))} or {SCALES[-1]}."
    )
