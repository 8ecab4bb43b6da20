"""Optional packages, imported when a feature first needs them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from ..errors import MissingExtraError


def require_extra(package: str, purpose: str, together_with: Sequence[str] = (), *, distribution: str | None = None) -> Any:
    """Import a package that is not among the library's own requirements.

    Args:
        package: the module to import.
        purpose: completes the sentence "It is needed ...", such as ``"to write ONNX files"``.
        together_with: other packages that the same purpose needs.
        distribution: the name to install, if it differs from the module's.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        missing = distribution or package
        raise MissingExtraError(
            f"The package {missing} is not installed. It is needed {purpose}. Install it into the Python that runs this program: "
            f"pip install {' '.join(dict.fromkeys([missing, *together_with]))}"
        ) from error
