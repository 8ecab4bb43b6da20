"""The command line, ``span-upscale``. Results go to standard output, and messages to standard error."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from .._util.process import interruptible
from ..errors import SpanArchError
from . import completion_command, convert_command, evaluate_command, get_command, info_command, models_command, upscale_command
from .exit_codes import ExitCode

_COMMANDS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "info": info_command.build_parser,
    "evaluate": evaluate_command.build_parser,
    "convert": convert_command.build_parser,
    "models": models_command.build_parser,
    "get": get_command.build_parser,
    "completion": lambda: completion_command.build_parser(_parsers),
}
"""The commands by name. Their modules import torch only when they run, so that help and mistakes are answered at once."""


def _parsers() -> dict[str, argparse.ArgumentParser]:
    return {"": upscale_command.build_parser()} | {name: build() for name, build in _COMMANDS.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, by default that of the process, and return its exit code."""
    options = _parse(sys.argv[1:] if arguments is None else list(arguments))
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        with interruptible():
            return run(options)
    except SpanArchError as error:
        print(f"span-upscale: {error}", file=sys.stderr)
        return ExitCode.of(error)
    except KeyboardInterrupt:
        print("span-upscale: stopped; no file is left half-written.", file=sys.stderr)
        return ExitCode.STOPPED


def _parse(arguments: list[str]) -> argparse.Namespace:
    if arguments and arguments[0] in _COMMANDS:  # an input named info can be given as ./info
        return _COMMANDS[arguments[0]]().parse_args(arguments[1:])
    return upscale_command.build_parser().parse_intermixed_args(arguments)
