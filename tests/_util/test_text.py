"""Error messages are put together from shared parts."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from span_arch._util.extras import require_extra
from span_arch._util.text import first_line, join_words, with_context
from span_arch.errors import ImageError, MissingExtraError


@pytest.mark.parametrize(
    ("words", "joined"), [(("a",), "a"), (("a", "b"), "a or b"), (("a", "b", "c"), "a, b or c"), ((1, 2, 4), "1, 2 or 4")]
)
def test_words_are_joined_as_in_a_sentence(words: Iterable[object], joined: str) -> None:
    assert join_words(words) == joined
    assert join_words(words, "and") == joined.replace("or", "and")


def test_first_line_of_an_error_is_never_empty() -> None:
    assert first_line(ValueError("\n  one\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"


def test_context_is_added_to_an_error_of_the_same_type() -> None:
    error = with_context(ImageError("It is damaged."), "Two files are left.")
    assert type(error) is ImageError
    assert str(error) == "It is damaged. Two files are left."


def test_missing_package_is_reported_with_the_command_that_installs_it() -> None:
    assert require_extra("json", "to read JSON") is json
    message = r"The package no\[all\] is not installed\. It is needed to test\. .* pip install no\[all\] other$"
    with pytest.raises(MissingExtraError, match=message):
        require_extra("span_no_such_package", "to test", ("other", "no[all]"), distribution="no[all]")
