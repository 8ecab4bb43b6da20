"""Ray itself: joined or started, kept quiet, and left as it was found."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from ..errors import ClusterError
from ..extras import require_extra

AUTO = "auto"
"""The cluster that RAY_ADDRESS names or that runs on this machine; if there is none, one of this machine alone, for as long as it takes."""

_LOGGERS = ("ray", "ray.data")
_DATA = {"enable_progress_bars": False, "print_on_execution_start": False, "execution_no_progress_timeout_s": -1}
"""A segment of a video may take longer than Ray Data waits for a sign of life by default."""


@contextmanager
def session(address: str) -> Generator[Any]:
    """Ray, connected to a cluster. If the process was connected already, that is what it gets, and it stays so.

    Raises:
        MissingExtraError: Ray is not installed.
        ClusterError: no cluster answers there, or it is of another version.
    """
    ray = require_extra("ray", "To upscale on a cluster", distribution="ray[data]")
    require_extra("ray.data", "To upscale on a cluster", distribution="ray[data]")
    with _quiet(ray):
        if ray.is_initialized():
            yield ray
            return
        try:
            _connect(ray, address)
            yield ray
        finally:
            ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    term = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(None if address == AUTO else address, log_to_driver=False, logging_level="error")
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        where = os.environ.get("RAY_ADDRESS", "on this machine") if address == AUTO else f"at '{address}'"
        raise ClusterError(
            f"No Ray cluster could be joined or started {where} ({_first_line(error)}). Look whether it runs there ('ray status'), and "
            "whether Ray and Python are of the same versions here and there; 'auto' does without a cluster."
        ) from error
    finally:
        if term is not None and signal.getsignal(signal.SIGTERM) is not term:  # Ray has its own, by which the process would just end
            signal.signal(signal.SIGTERM, term)


@contextmanager
def _quiet(ray: Any) -> Generator[None]:
    """Only errors are told, and no progress of Ray's own."""
    context = ray.data.DataContext.get_current()
    settings = {name: value for name, value in _DATA.items() if hasattr(context, name)}  # older versions have fewer
    before = {name: getattr(context, name) for name in settings}
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    try:
        for name, value in settings.items():
            setattr(context, name, value)
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        yield
    finally:
        for name, value in before.items():
            setattr(context, name, value)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
