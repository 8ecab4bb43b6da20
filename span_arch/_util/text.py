"""Text that several error messages and reports share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

_Error = TypeVar("_Error", bound=Exception)


def join_words(words: Iterable[object], last: str = "or") -> str:
    """Return ``"a, b or c"`` for three words, ``"a or b"`` for two, and the word itself for one."""
    *others, final = map(str, words)
    return f"{', '.join(others)} {last} {final}" if others else final


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or the name of its type if the message is empty."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def with_context(error: _Error, text: str) -> _Error:
    """Return an exception of the same type whose message goes on with ``text``. Raise it ``from`` the first."""
    return type(error)(f"{error} {text}")
