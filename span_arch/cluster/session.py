"""Ray itself: joined or started, kept quiet, and left as it was found."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .._util.extras import require_extra
from ..errors import ClusterError

AUTO = "auto"
"""The cluster that RAY_ADDRESS names or that runs on this machine; if there is none, one of this machine alone, for as long as it takes."""

_PATIENCE = 10.0
"""Seconds that a cluster has for an answer."""
_NO_CLIENT = (
    "Ray Data does not work through Ray's client, but {}. Run the command on a machine of the cluster, with an address such as "
    "'head:6379' or 'auto'; 'ray job submit' does that from anywhere."
)
_LEVEL = "RAY_BACKEND_LOG_LEVEL"
_LOGGERS = ("ray", "ray.data")
QUIET_AND_PATIENT = {
    "enable_progress_bars": False,
    "print_on_execution_start": False,
    "execution_no_progress_timeout_s": -1,  # a segment of a video takes as long as it takes
    "max_consecutive_actor_init_deaths": 32,  # a machine may die with all the workers that are just being started there
}
"""Settings of Ray Data, of which older versions have fewer."""


@contextmanager
def session(address: str) -> Generator[Any]:
    """Ray, connected to a cluster. If the process was connected already, that is what it gets, and it stays so.

    Raises:
        MissingExtraError: Ray is not installed.
        ClusterError: no cluster answers there, it is of another version, or it is reached through Ray's client.
    """
    ray = require_extra("ray", "To upscale on a cluster", distribution="ray[data]")
    require_extra("ray.data", "To upscale on a cluster", distribution="ray[data]")
    with _quiet(ray):
        if ray.is_initialized():
            if ray.util.client.ray.is_connected():
                raise ClusterError(_NO_CLIENT.format("this process is connected by way of 'ray://'"))
            yield ray
            return
        try:
            _connect(ray, address)
            yield ray
        finally:
            ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    named = os.environ.get("RAY_ADDRESS", "") if address == AUTO else address
    if named.startswith("ray://"):
        raise ClusterError(_NO_CLIENT.format(f"the address is '{named}'"))
    term = signal.getsignal(signal.SIGTERM)
    try:
        if ":" in named:
            _check_answers(named)
        with _mute():
            ray.init(named or None, log_to_driver=False, logging_level="error")
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        where = f"joined at '{named}'" if named else "started on this machine"
        raise ClusterError(
            f"No Ray cluster could be {where} ({_first_line(error)}). Look whether it runs ('ray status' there tells), and whether Ray and "
            f"Python are the same here and there.{_told_of_token()} With the address 'local', no cluster is needed."
        ) from error
    finally:
        if term is not None and signal.getsignal(signal.SIGTERM) is not term:  # Ray has its own, by which the process would just end
            signal.signal(signal.SIGTERM, term)


def _check_answers(address: str) -> None:
    """Raises an `OSError` if nobody does; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()


def _told_of_token() -> str:
    """Where an address is named, newer versions of Ray show a token only if they are told to."""
    if os.environ.get("RAY_AUTH_MODE") == "token":
        return " See that the token is the same, too."
    return " If the cluster asks for a token, have that, and set RAY_AUTH_MODE=token."


@contextmanager
def _mute() -> Generator[None]:
    """Makes the part of Ray that is no Python tell nothing but what is fatal. As it begins, it says so, past all that is Python."""
    level = os.environ.get(_LEVEL)
    standard_error = os.dup(2)
    try:
        os.environ.setdefault(_LEVEL, "fatal")
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(standard_error, 2)
        os.close(standard_error)
        if level is None:
            os.environ.pop(_LEVEL, None)


@contextmanager
def _quiet(ray: Any) -> Generator[None]:
    """Only errors are told, and no progress of Ray's own."""
    context = ray.data.DataContext.get_current()
    settings = {name: value for name, value in QUIET_AND_PATIENT.items() if hasattr(context, name)}
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
