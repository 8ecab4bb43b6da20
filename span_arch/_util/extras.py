"""Packages that the library does without until somebody asks for what they do."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from ..errors import MissingExtraError


def require_extra(package: str, purpose: str, together_with: Sequence[str] = (), *, distribution: str | None = None) -> Any:
    """Imports a package that an extra of the library brings.

    Args:
        package: the module to import.
        purpose: what it is needed for: the beginning of a sentence that goes on with ", the package ... is needed".
        together_with: other packages that are needed for the same.
        distribution: what pip is asked for, if that is not called as the module.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        wanted = distribution or package
        raise MissingExtraError(
            f"{purpose}, the package {wanted} is needed, and it is not installed. In the Python that this runs in, run: "
            f"pip install {' '.join(dict.fromkeys([wanted, *together_with]))}"
        ) from error
