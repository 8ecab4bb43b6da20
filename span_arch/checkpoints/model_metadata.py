"""The metadata that this library writes into files and reads again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .._util.text import first_line
from ..archs.bounds import Limits, parse_limits
from ..archs.normalisation import Normalisation, parse_normalisation
from ..errors import BrokenCheckpointError, OptionError

KEY = "normalisation"
LIMITS_KEY = "activation_limits"


def normalisation_text(normalisation: Normalisation | None) -> str:
    """Return ``"none"``, or the means of R, G and B and the range, separated by spaces."""
    return "none" if normalisation is None else " ".join(f"{x:.9g}" for x in (*normalisation.mean, normalisation.range))


def normalisation_in(path: Path, metadata: Mapping[str, str]) -> Normalisation | str | None:
    """Read the normalisation that `normalisation_text` wrote; ``"unstated"`` if there is none.

    Raises:
        BrokenCheckpointError: the text is not valid.
    """
    if KEY not in metadata:
        return "unstated"
    try:
        return parse_normalisation(metadata[KEY])
    except OptionError as error:
        raise BrokenCheckpointError(
            f"{path} states the normalisation '{metadata[KEY][:80]}' in its metadata. Expected 'none' or four numbers: the means of R, G "
            "and B, and the range. The file is damaged: get it again from its source."
        ) from error


def limits_in(path: Path, metadata: Mapping[str, str]) -> Limits | None:
    """Read the limits on activations that `limits_text` wrote; None if there are none.

    Raises:
        BrokenCheckpointError: the text is not valid.
    """
    if LIMITS_KEY not in metadata:
        return None
    try:
        return parse_limits(metadata[LIMITS_KEY])
    except ValueError as error:
        raise BrokenCheckpointError(
            f"{path} states limits on activations in its metadata that cannot be read: {first_line(error)[:200]}. Expected two lists of "
            "numbers for each attention block. The file is damaged: get it again from its source."
        ) from error
