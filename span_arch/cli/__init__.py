"""The command line, ``span-upscale``.

Exit codes: 0 done; 1 some of several files failed; 2 the command line makes no sense; 3 the model; 4 the picture or the video; 5 the
output; 6 out of memory, or a network that gives no finite result; 7 a package is missing; 8 the cluster; 130 stopped with Ctrl+C or
SIGTERM. Messages go to standard error, results to standard output.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from .. import errors
from . import convert_command, evaluate_command, info_command, upscale_command
from .interrupts import stoppable

_EXIT_CODES: tuple[tuple[type[errors.SpanArchError], int], ...] = (
    (errors.OptionError, 2),
    (errors.CheckpointError, 3),
    (errors.ImageError, 4),
    (errors.VideoError, 4),
    (errors.OutputError, 5),
    (errors.VerificationError, 5),
    (errors.MissingExtraError, 7),
    (errors.ClusterError, 8),
    (errors.SpanArchError, 6),
)

_COMMANDS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "info": info_command.parser,
    "evaluate": evaluate_command.parser,
    "convert": convert_command.parser,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line, and returns its exit code."""
    options = _parse(sys.argv[1:] if arguments is None else list(arguments))
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        with stoppable():
            return run(options)
    except errors.SpanArchError as error:
        print(f"span-upscale: {error}", file=sys.stderr)
        return next(code for kind, code in _EXIT_CODES if isinstance(error, kind))
    except KeyboardInterrupt:
        print("span-upscale: stopped; no file is left half-written.", file=sys.stderr)
        return 130


def _parse(arguments: list[str]) -> argparse.Namespace:
    if arguments and arguments[0] in _COMMANDS:  # pictures of these names can be given as ./info
        return _COMMANDS[arguments[0]]().parse_args(arguments[1:])
    return upscale_command.parser().parse_intermixed_args(arguments)
