from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("SPAN_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def data() -> Path:
    if not DATA.is_dir():
        pytest.skip("the benchmark data is absent")
    return DATA
