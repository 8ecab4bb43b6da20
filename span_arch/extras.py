"""Packages that the library does without until somebody asks for what they do."""

from __future__ import annotations

import importlib
from typing import Any

from .errors import MissingExtraError


def require_extra(package: str, extra: str, purpose: str) -> Any:
    """Imports a package that an extra of the library brings.

    Args:
        package: the module to import.
        extra: the extra's name, as in ``span-upscale[onnx]``.
        purpose: what it is needed for: a sentence that goes on with ", install ...".

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose}, install the package {package}, in the Python that this runs in: pip install {package}. "
            f"(Or, with all that belongs to it: pip install 'span-upscale[{extra}]'.)"
        ) from error
