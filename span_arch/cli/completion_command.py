"""``span-upscale completion``: print a script that completes commands, options and their values in a shell.

The scripts are made from the argument parsers, so they cannot lack an option. They are tables and do not start Python.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ..models.model_files import builtin_names
from ..video.codecs import AUTO, CODECS

_VALUES: dict[str, tuple[str, ...]] = {
    "codec": (AUTO, *CODECS),
    "normalise": ("auto", "paper", "imagenet", "none"),
    "alpha": ("resize", "model"),
    "format": ("png", "jpg", "webp", "avif", "gif", "tiff", "mp4", "mov", "mkv", "webm"),
    "ray": ("auto", "local"),
    "device": ("cpu", "cuda", "mps", "xpu"),
}
"""The usual values of options that also take others, or whose help text lists them."""


@dataclass(frozen=True)
class _Option:
    """An option of a command."""

    names: tuple[str, ...]
    help: str
    takes_value: bool
    values: tuple[str, ...] = ()
    """The values to offer."""
    files: bool = False
    """True if a file can be given as well."""


@dataclass(frozen=True)
class _Command:
    """A command, with what it completes."""

    help: str
    options: tuple[_Option, ...]
    words: tuple[str, ...]
    """The values of arguments, in addition to files."""


def build_parser(parsers: Callable[[], Mapping[str, argparse.ArgumentParser]]) -> argparse.ArgumentParser:
    """Build the argument parser. `parsers` returns those of all commands by name, with that of ``span-upscale`` itself under ``""``."""
    parser = argparse.ArgumentParser(
        prog="span-upscale completion",
        description="Print a completion script for a shell.",
        epilog='For bash, add this line to ~/.bashrc: eval "$(span-upscale completion bash)". For zsh, add the same with zsh to ~/.zshrc, '
        "after compinit. For fish: span-upscale completion fish > ~/.config/fish/completions/span-upscale.fish",
    )
    parser.add_argument("shell", choices=tuple(_SCRIPTS), help="the shell")

    def run(options: argparse.Namespace) -> int:
        print(_SCRIPTS[options.shell]({name: _command(parser) for name, parser in parsers().items()}), end="")
        return 0

    parser.set_defaults(run=run)
    return parser


def _command(parser: argparse.ArgumentParser) -> _Command:
    actions = parser._actions  # pyright: ignore[reportPrivateUsage] (argparse has no public list; shtab reads it too)
    options = tuple(
        _Option(
            tuple(action.option_strings), _first_sentence(action.help or ""), action.nargs != 0, _values(action), action.dest == "model"
        )
        for action in actions
        if action.option_strings
    )
    words = tuple(value for action in actions if not action.option_strings for value in _values(action))
    return _Command(_first_sentence(parser.description or ""), options, words)


def _values(action: argparse.Action) -> tuple[str, ...]:
    if action.dest == "model":
        return builtin_names()
    return tuple(map(str, action.choices)) if action.choices else _VALUES.get(action.dest, ())


def _first_sentence(text: str) -> str:
    """Return the start of a help text without characters that a shell would read as its own."""
    return re.sub(r"[\"'`$\\\[\]:]", "", re.split(r"[.;:,]\s| \(", text)[0]).rstrip(".")


def _bash(commands: Mapping[str, _Command]) -> str:
    names = [name for name in commands if name]
    lines = [
        "# bash completion for span-upscale",
        "_span_upscale() {",
        '    local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" command="" words="" files=1',
        '    if [[ $word == "=" ]]; then word=""; elif [[ $before == "=" ]]; then before="${COMP_WORDS[COMP_CWORD-2]}"; fi',
        '    case "${COMP_WORDS[1]}" in',
        f'        {"|".join(names)}) (( COMP_CWORD > 1 )) && command="${{COMP_WORDS[1]}}" ;;',
        "    esac",
        '    case "$command:$before" in',
    ]
    for name, command in commands.items():
        for option in command.options:
            if option.takes_value:
                patterns = "|".join(f'"{name}:{flag}"' for flag in option.names)
                lines.append(f'        {patterns}) words="{" ".join(option.values)}"; files={int(option.files)} ;;')
    lines += ["        *)", '            case "$command:$word" in']
    for name, command in commands.items():
        flags = " ".join(flag for option in command.options for flag in option.names)
        lines.append(f'                "{name}:"-*) words="{flags}"; files=0 ;;')
        if command.words:
            lines.append(f'                "{name}:"*) words="{" ".join(command.words)}" ;;')
    lines += [
        f'                *) (( COMP_CWORD == 1 )) && words="{" ".join(names)}" ;;',
        "            esac ;;",
        "    esac",
        "    COMPREPLY=()",
        "    local reply",
        '    while IFS= read -r reply; do COMPREPLY+=("$reply"); done < <(',
        '        compgen -W "$words" -- "$word"',
        '        (( files )) && compgen -f -- "$word"',
        "    )",
        "    if (( files )); then compopt -o filenames 2>/dev/null; fi",
        "}",
        "complete -F _span_upscale span-upscale",
    ]
    return "\n".join(lines) + "\n"


def _zsh(commands: Mapping[str, _Command]) -> str:
    names = [name for name in commands if name]
    lines = ["#compdef span-upscale", "_span_upscale() {", "    local -a known=("]
    lines += [f"        '{name}:{commands[name].help}'" for name in names]
    lines += ["    )", "    local command=''", "    if (( CURRENT > 2 )); then", "        case $words[2] in"]
    lines += [f"            {'|'.join(names)}) command=$words[2]; shift words; (( CURRENT-- )) ;;", "        esac"]
    lines += ["    else", "        _describe command known", "    fi", "    case $command in"]
    for name, command in sorted(commands.items(), reverse=True):  # the one without a name last
        lines += [f"        {name or '*'})", "            _arguments \\"]
        lines += [f"                {_zsh_option(option)} \\" for option in command.options]
        lines += [f"                '*:argument:{_zsh_values(command.words, files=True)}' ;;"]
    lines += ["    esac", "}", "compdef _span_upscale span-upscale"]
    return "\n".join(lines) + "\n"


def _zsh_option(option: _Option) -> str:
    value = f":value:{_zsh_values(option.values, files=option.files)}" if option.takes_value else ""
    return " ".join(f"'*{flag}[{option.help}]{value}'" for flag in option.names)


def _zsh_values(values: Iterable[str], *, files: bool) -> str:
    listed = " ".join(values)
    if not files:
        return f"({listed})" if listed else " "
    return f"{{ compadd {listed}; _files }}" if listed else "_files"


def _fish(commands: Mapping[str, _Command]) -> str:
    names = " ".join(name for name in commands if name)
    lines = ["# fish completion for span-upscale"]
    for name, command in commands.items():
        here = f"__fish_seen_subcommand_from {name}" if name else f"not __fish_seen_subcommand_from {names}"
        if name:
            lines.append(f"complete -c span-upscale -n '__fish_is_first_arg' -a {name} -d '{command.help}'")
        if command.words:
            lines.append(f"complete -c span-upscale -n '{here}' -a '{' '.join(command.words)}'")
        for option in command.options:
            flags = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.names)
            kind = "" if not option.takes_value else " -r" if option.files else " -x"
            values = f" -a '{' '.join(option.values)}'" if option.values else ""
            lines.append(f"complete -c span-upscale -n '{here}' {flags}{kind}{values} -d '{option.help}'")
    return "\n".join(lines) + "\n"


_SCRIPTS: dict[str, Callable[[Mapping[str, _Command]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
