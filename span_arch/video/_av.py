"""PyAV, which is an extra: ComfyUI brings it."""

from __future__ import annotations

import os
from typing import Any

from .._util.extras import require_extra


def pyav() -> Any:
    """The package ``av``, version 14.2 or newer.

    Raises:
        MissingExtraError: it is not installed.
    """
    os.environ.setdefault("SVT_LOG", "1")  # this encoder of AV1 tells all its settings else, past all that is Python
    return require_extra("av", "To read and write videos")


def reason(error: BaseException) -> str:
    """What FFmpeg says of an error, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
