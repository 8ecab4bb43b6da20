"""Which version this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed


def version() -> str:
    """Of the package, as it was installed."""
    try:
        return installed("span-upscale")
    except PackageNotFoundError:
        return "that is not installed"
