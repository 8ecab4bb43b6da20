"""Connect to Ray, keep it quiet, and leave the process as it was."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from .._util.extras import require_extra
from .._util.process import default_variable, discarded_stderr, kept_handler, log_level
from .._util.text import first_line
from ..errors import ClusterError

AUTO = "auto"
"""The cluster that RAY_ADDRESS names or that runs on this machine. If there is none, a local one is started for the session."""

_TIMEOUT = 10.0
"""Seconds that a cluster has to accept a connection."""
_CLIENT_REFUSED = (
    "{} Ray's client, which Ray Data does not support. Run the command on a machine of the cluster with an address such as head:6379 or "
    "auto, or submit it with 'ray job submit'."
)
_DATA_OPTIONS = {
    "enable_progress_bars": False,
    "print_on_execution_start": False,
    "execution_no_progress_timeout_s": -1,  # a long segment of a video may take any time
    "max_consecutive_actor_init_deaths": 32,  # a machine may die with all the workers that it is starting
}
"""Options of Ray Data. Older versions lack some of them."""


@contextmanager
def ray_session(address: str) -> Generator[Any]:
    """Connect to a cluster and yield the module `ray`. A process that is connected already stays connected, to the same cluster.

    Raises:
        MissingExtraError: Ray is not installed.
        ClusterError: no cluster answers at the address, its version differs, or the connection uses Ray's client.
    """
    ray = require_extra("ray", "to upscale on a cluster", distribution="ray[data]")
    require_extra("ray.data", "to upscale on a cluster", distribution="ray[data]")
    with log_level(logging.CRITICAL, "ray", "ray.data"), _data_options(ray.data.DataContext.get_current()):
        if ray.is_initialized():
            if ray.util.client.ray.is_connected():
                raise ClusterError(_CLIENT_REFUSED.format("This process is connected through"))
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
        raise ClusterError(_CLIENT_REFUSED.format(f"The address {named} is for"))
    try:
        if ":" in named:
            _check_port(named)
        # Ray's native code reports its start past Python, and Ray's own handler of SIGTERM would end the process at once.
        with kept_handler(signal.SIGTERM), default_variable("RAY_BACKEND_LOG_LEVEL", "fatal"), discarded_stderr():
            ray.init(named or None, log_to_driver=False, logging_level="error")
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        where = f"joined at {named}" if named else "started on this machine"
        raise ClusterError(
            f"No Ray cluster could be {where} ({first_line(error)}). Check with 'ray status' that it runs, that Ray and Python have the "
            f"same versions there as here, and {_token_advice()}. The address 'local' needs no cluster."
        ) from error


def _check_port(address: str) -> None:
    """Raise an `OSError` if nothing listens at an address. Ray itself would retry for minutes."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=_TIMEOUT).close()


def _token_advice() -> str:
    """Return what to check about tokens. Newer versions of Ray send theirs only in this mode if an address is named."""
    if os.environ.get("RAY_AUTH_MODE") == "token":
        return "that both use the same token"
    return "that RAY_AUTH_MODE=token is set if the cluster requires a token"


@contextmanager
def _data_options(context: Any) -> Generator[None]:
    """Set `_DATA_OPTIONS`, as far as this version of Ray Data has them."""
    before = {name: getattr(context, name) for name in _DATA_OPTIONS if hasattr(context, name)}
    try:
        for name in before:
            setattr(context, name, _DATA_OPTIONS[name])
        yield
    finally:
        for name, value in before.items():
            setattr(context, name, value)
