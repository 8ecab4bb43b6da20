"""PyAV, which is an extra: ComfyUI brings it."""

from __future__ import annotations

from typing import Any

from .._util.extras import require_extra
from .._util.process import set_default_variable


def pyav() -> Any:
    """The package ``av``, version 14.2 or newer.

    Raises:
        MissingExtraError: it is not installed.
    """
    set_default_variable("SVT_LOG", "1")  # otherwise the AV1 encoder SVT-AV1 prints its settings from native code
    return require_extra("av", "to read and write videos")


def reason(error: BaseException) -> str:
    """What FFmpeg says of an error, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
