"""Ray itself: joined or started, kept quiet, and left as it was found."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from .._util import process
from .._util.extras import require_extra
from .._util.text import first_line
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
    ray = require_extra("ray", "to upscale on a cluster", distribution="ray[data]")
    require_extra("ray.data", "to upscale on a cluster", distribution="ray[data]")
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
    try:
        if ":" in named:
            _check_answers(named)
        # Ray installs a SIGTERM handler that just ends the process, and its native code prints to standard error as it starts.
        with process.kept_handler(signal.SIGTERM), process.default_variable(_LEVEL, "fatal"), process.discarded_stderr():
            ray.init(named or None, log_to_driver=False, logging_level="error")
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        where = f"joined at '{named}'" if named else "started on this machine"
        raise ClusterError(
            f"No Ray cluster could be {where} ({first_line(error)}). Look whether it runs ('ray status' there tells), and whether Ray and "
            f"Python are the same here and there.{_told_of_token()} With the address 'local', no cluster is needed."
        ) from error


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
def _quiet(ray: Any) -> Generator[None]:
    """Only errors are told, and no progress of Ray's own."""
    context = ray.data.DataContext.get_current()
    settings = {name: value for name, value in QUIET_AND_PATIENT.items() if hasattr(context, name)}
    before = {name: getattr(context, name) for name in settings}
    try:
        for name, value in settings.items():
            setattr(context, name, value)
        with process.log_level(logging.CRITICAL, *_LOGGERS):
            yield
    finally:
        for name, value in before.items():
            setattr(context, name, value)
