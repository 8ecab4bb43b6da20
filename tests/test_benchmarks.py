"""The benchmarks: ratios, tables, plots, and the turns that contenders take."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import span_arch
from benchmarks import __main__ as command
from benchmarks import measure, report
from benchmarks.contenders import LIMIT, OURS, OURS_AUTO, STOCK, LeftOutError
from benchmarks.measure import Case, Network
from span_arch.archs.span import SPAN


def row(contender: str, seconds: list[float], **more: Any) -> dict[str, Any]:
    beside = {OURS: [1, 2, 2]}
    return {
        "network": "n",
        "image": "8x8",
        "contender": contender,
        "first": 3.0,
        "seconds": seconds,
        "memory": 5 << 20,
        "beside": beside,
        **more,
    }


RESULTS = {
    "command": "python -m benchmarks",
    "date": "2000-01-01",
    "rounds": 3,
    "machine": {"CPU": "one"},
    "left_out": [{"network": "n", "image": image, "contender": "ncnn", "why": "a | b"} for image in ("8x8", "9x9")],
    "speed": [row(OURS, [1, 2, 2]), row(LIMIT, [1, 1, 1]), row(STOCK, [4, 6, 2], memory=50 << 20)],
    "growth": [{"contender": OURS, "by": by, "value": value, "seconds": 1, "memory": 0} for by, value in (("rows", 1), ("tile", "best"))],
}


def test_ratio_is_the_median_of_the_rounds_ratios() -> None:
    assert measure.ratio([4, 6, 2], [1, 2, 2]) == (3, 1, 4)
    with pytest.raises(ValueError, match="shorter"):
        measure.ratio([1, 2], [1])


def test_rounds_have_defaults_and_are_at_least_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert (command.parse([]).rounds, command.parse(["--quick"]).rounds, command.parse(["--rounds", "3"]).rounds) == (5, 2, 3)
    with pytest.raises(SystemExit):
        command.parse(["--rounds", "0"])
    assert "expected at least 1" in capsys.readouterr().err


@pytest.mark.parametrize("case", [Case(300, 20), Case(64, 400, frames=3), Case(1, 1)])
def test_example_images_have_the_size_of_their_case_and_are_reproducible(case: Case) -> None:
    image = measure.example_image(case)
    assert image.shape == (case.frames, case.height, case.width, 3)
    assert image.dtype == np.float32
    assert image.min() >= 0
    assert image.max() <= 1
    assert np.array_equal(image, measure.example_image(case))
    assert case.frames == 1 or not np.array_equal(image[0], image[1])


def test_table_escapes_cells_that_would_break_it() -> None:
    assert report.table(("a", "b"), [("x|y", "z\nw")]) == "| a | b |\n| --- | --- |\n| x\\|y | z w |"


def test_page_shows_ratios_seconds_memory_and_what_was_left_out() -> None:
    page = report.page(RESULTS)
    assert "| n | 8x8 | 3.00x (1.00 to 4.00) |  |  |  | 2.00x (1.00 to 2.00) | 0.10x (5 and 50 MiB) |" in page
    assert f"| n | 8x8 | {STOCK} | 4.00 | 3.00x (1.00 to 4.00) |  | 0.75x | 50 |" in page
    assert "| ncnn | a \\| b | n 8x8, n 9x9 |" in page


def test_redraw_makes_page_and_plots_from_results(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report.save(RESULTS, tmp_path)
    command.main(["--redraw", "--out", str(tmp_path)])
    assert (tmp_path / "README.md").read_text("utf-8") == report.page(RESULTS)
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("speed.png", "growth.png"))


class FakeProcess:
    """Answers as a worker does. onnxruntime's image differs from ours, and ncnn ends in its second turn.

    Args:
        turns: records the turns of all processes.
        name: of the contender.
        others: for a real process.
    """

    def __init__(self, turns: list[str], name: str, *others: object) -> None:
        self.turns, self.name, self._left = turns, name, 1 if name == "ncnn" else 9
        self.first = {"seconds": 1.0, "memory": 1, "versions": {}, "sample": [0.5 if name == "onnxruntime" else 0.2]}

    def again(self) -> dict[str, Any]:
        self.turns.append(self.name)
        self._left -= 1
        if self._left < 0:
            raise LeftOutError("it died")
        return {"seconds": 2.0, "memory": 3}

    def close(self) -> None:
        self.turns.append(f"{self.name} closed")


@pytest.fixture
def turns() -> list[str]:
    return []


@pytest.fixture
def fake(tmp_path: Path, turns: list[str]) -> Network:
    return Network("fake", tmp_path, {}, process=partial(FakeProcess, turns))


def test_contenders_take_turns_and_failing_ones_are_left_out(fake: Network, turns: list[str]) -> None:
    left_out: list[dict[str, str]] = []
    names = (OURS, "onnxruntime", "ncnn", "spandrel")
    rows = measure.speed(fake, Case(8, 8), names, rounds=3, left_out=left_out, rest=0)
    assert turns[:8] == [OURS, "ncnn", "spandrel"] * 2 + [OURS, "spandrel"]
    assert [row["beside"] for row in rows] == [{OURS: [2.0] * 3}] * 2
    assert sorted(turns[8:]) == sorted(f"{name} closed" for name in names)
    assert [(row["contender"], row["seconds"], row["memory"]) for row in rows] == [(OURS, [2.0] * 3, 3), ("spandrel", [2.0] * 3, 3)]
    assert [(row["contender"], row["why"]) for row in left_out] == [
        ("onnxruntime", "its image differs from this library's by 0.300 on average"),
        ("ncnn", "it died"),
    ]


def test_only_some_other_contenders_take_turns_at_a_time(fake: Network, turns: list[str]) -> None:
    rows = measure.speed(fake, Case(8, 8), (OURS, OURS_AUTO, "spandrel", LIMIT), rounds=2, left_out=[], at_a_time=1, rest=0)
    assert [turn for turn in turns if "closed" not in turn] == [OURS, OURS_AUTO, "spandrel"] * 2 + [OURS, OURS_AUTO, LIMIT] * 2
    assert [(row["contender"], len(row["seconds"]), len(row["beside"][OURS])) for row in rows] == [
        (OURS, 4, 4),
        (OURS_AUTO, 4, 4),
        ("spandrel", 2, 2),
        (LIMIT, 2, 2),
    ]


def test_growth_measures_every_point_in_a_new_process(fake: Network, turns: list[str]) -> None:
    points = list(measure.growth(fake, {"rows": [(8, Case(16, 8, tile=4))]}))
    assert [(point["contender"], point["by"], point["value"], point["seconds"]) for point in points] == [
        (OURS, "rows", 8, 2.0),
        (OURS_AUTO, "rows", 8, 2.0),
    ]
    assert turns == [OURS, f"{OURS} closed", OURS_AUTO, f"{OURS_AUTO} closed"]


def test_failure_of_this_library_ends_the_measurement(fake: Network) -> None:
    fake.missing["fused.safetensors"] = "no room"
    with pytest.raises(LeftOutError, match="no room"):
        measure.speed(fake, Case(8, 8), (OURS, "spandrel"), rounds=1, left_out=[], rest=0)


def test_real_processes_run_a_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psutil")
    monkeypatch.delenv("COMFYUI_DIR", raising=False)
    names = (OURS, LIMIT, STOCK, "spandrel")
    network = Network.write("tiny", span_arch.from_state_dict(SPAN(feature_channels=4).state_dict()), tmp_path / "tiny", names)
    left_out: list[dict[str, str]] = []
    rows = measure.speed(network, Case(24, 16, frames=2), names, rounds=1, left_out=left_out)
    assert [row["contender"] for row in rows] == [OURS, LIMIT, "spandrel"]
    assert all(len(row["seconds"]) == 1 and row["seconds"][0] > 0 and row["memory"] >= 0 and row["versions"]["torch"] for row in rows)
    assert left_out == [{"network": "tiny", "image": "2 of 24x16", "contender": STOCK, "why": "COMFYUI_DIR does not name a ComfyUI folder"}]
    assert json.loads(json.dumps(rows)) == rows
