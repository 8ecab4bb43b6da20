"""The metadata that this library writes into files, and reads again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..archs.normalisation import Normalisation, parse_normalisation
from ..errors import BrokenCheckpointError, OptionError

KEY = "normalisation"


def normalisation_text(normalisation: Normalisation | None) -> str:
    """``"none"``, or mean R, mean G, mean B and range, apart by spaces."""
    return "none" if normalisation is None else " ".join(f"{x:.9g}" for x in (*normalisation.mean, normalisation.range))


def normalisation_in(path: Path, metadata: Mapping[str, str]) -> Normalisation | str | None:
    """The inverse of `normalisation_text`, or ``"unstated"`` where the metadata has no word of it.

    Raises:
        BrokenCheckpointError: the word is there and makes no sense.
    """
    if KEY not in metadata:
        return "unstated"
    try:
        return parse_normalisation(metadata[KEY])
    except OptionError as error:
        raise BrokenCheckpointError(
            f"'{path}' states the normalisation '{metadata[KEY][:80]}' in its metadata; expected 'none', or mean R, G, B and range as four "
            "numbers. The file is damaged: get it again from its source."
        ) from error
