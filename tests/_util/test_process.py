"""Changes to the state of the process end with their block."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import span_arch
from span_arch._util import process

NAME = "SPAN_TEST_VARIABLE"


def test_default_variable_is_set_within_the_block_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NAME, raising=False)
    with process.default_variable(NAME, "a"):
        assert os.environ[NAME] == "a"
    assert NAME not in os.environ


def test_variables_of_the_user_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "own")
    process.set_default_variable(NAME, "a")
    with process.default_variable(NAME, "a"):
        assert os.environ[NAME] == "own"
    assert os.environ[NAME] == "own"


def test_native_output_to_stderr_is_discarded_within_the_block(capfd: pytest.CaptureFixture[str]) -> None:
    os.write(2, b"before\n")
    with process.discarded_stderr():
        os.write(2, b"within\n")
        subprocess.run([sys.executable, "-c", "import os; os.write(2, b'child')"], check=True)
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "before\nafter\n"


def test_prints_and_warnings_are_discarded_within_the_block(capsys: pytest.CaptureFixture[str]) -> None:
    with process.discarded_stdout(), process.ignored_warnings():
        print("within")
        warnings.warn("within", stacklevel=1)
    print("after")
    assert capsys.readouterr().out == "after\n"
    with pytest.warns(UserWarning, match="after"):
        warnings.warn("after", stacklevel=1)


def test_log_levels_are_put_back_after_an_error() -> None:
    loggers = [logging.getLogger(name) for name in ("span_test.a", "span_test.b")]
    loggers[1].setLevel(logging.INFO)
    with contextlib.suppress(ZeroDivisionError), process.log_level(logging.ERROR, "span_test.a", "span_test.b"):
        assert [logger.level for logger in loggers] == [logging.ERROR] * 2
        raise ZeroDivisionError
    assert [logger.level for logger in loggers] == [logging.NOTSET, logging.INFO]


def test_signal_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with process.kept_handler(signal.SIGTERM):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) is before


def test_only_this_module_changes_process_wide_state() -> None:
    changes = re.compile(
        r"os\.(dup2|umask|putenv|chdir)\b|os\.environ(\[[^]]*\] = |\.(setdefault|pop|update)\b)|signal\.signal\(|set_num_threads|"
        r"catch_warnings|simplefilter|redirect_std|\.setLevel\(|set_float32_matmul|set_default_d|use_deterministic|allow_tf32 = "
    )
    library = Path(span_arch.__file__).parent
    sources = {path: path.read_text(encoding="utf-8") for path in library.rglob("*.py")}
    assert [path.name for path, source in sources.items() if changes.search(source)] == ["process.py"]


def test_signal_interrupts_at_once_or_where_it_is_checked() -> None:
    def at_once() -> None:
        signal.raise_signal(signal.SIGTERM)

    def deferred() -> None:
        with process.deferred_interrupt() as check:
            check()
            signal.raise_signal(signal.SIGTERM)
            passed.append(True)
            check()

    passed: list[bool] = []
    before = signal.getsignal(signal.SIGTERM)
    for work in (at_once, deferred):
        with pytest.raises(KeyboardInterrupt), process.interruptible():
            work()
        assert signal.getsignal(signal.SIGTERM) is before
    assert passed == [True]


def test_second_signal_interrupts_although_it_is_deferred() -> None:
    def twice() -> None:
        with process.deferred_interrupt():
            for _ in range(2):
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt), process.interruptible():
        twice()
