from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

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


def test_a_ratio_is_the_median_of_ratios_and_not_the_ratio_of_medians() -> None:
    assert measure.ratio([4, 6, 2], [1, 2, 2]) == (3, 1, 4)
    with pytest.raises(ValueError, match="shorter"):
        measure.ratio([1, 2], [1])


def test_at_least_one_round(capsys: pytest.CaptureFixture[str]) -> None:
    assert (command.parse([]).rounds, command.parse(["--quick"]).rounds, command.parse(["--rounds", "3"]).rounds) == (5, 2, 3)
    with pytest.raises(SystemExit):
        command.parse(["--rounds", "0"])
    assert "expected at least 1" in capsys.readouterr().err


@pytest.mark.parametrize("case", [Case(300, 20), Case(64, 400, frames=3), Case(1, 1)])
def test_pictures(case: Case) -> None:
    image = measure.picture(case)
    assert image.shape == (case.frames, case.height, case.width, 3)
    assert image.dtype == np.float32
    assert image.min() >= 0
    assert image.max() <= 1
    assert np.array_equal(image, measure.picture(case))
    assert case.frames == 1 or not np.array_equal(image[0], image[1])


def test_a_table_holds_what_a_cell_might_break() -> None:
    assert report.table(("a", "b"), [("x|y", "z\nw")]) == "| a | b |\n| --- | --- |\n| x\\|y | z w |"


def test_the_page() -> None:
    page = report.page(RESULTS)
    assert "| n | 8x8 | 3.00x (1.00 to 4.00) |  |  |  | 2.00x (1.00 to 2.00) | 0.10x (5 and 50 MiB) |" in page
    assert f"| n | 8x8 | {STOCK} | 4.00 | 3.00x (1.00 to 4.00) |  | 0.75x | 50 |" in page
    assert "| ncnn | a \\| b | n 8x8, n 9x9 |" in page


def test_results_are_drawn_again(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report.save(RESULTS, tmp_path)
    command.main(["--redraw", "--out", str(tmp_path)])
    assert (tmp_path / "README.md").read_text("utf-8") == report.page(RESULTS)
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("speed.png", "growth.png"))


class FakeProcess:
    """Answers as a worker does. One of another picture differs from the start, one that dies does so in its second turn."""

    turns: ClassVar[list[str]] = []

    def __init__(self, name: str, folder: Path, image: Path, tile: int = 0) -> None:
        self.name, self._left = name, 1 if name == "ncnn" else 9
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
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Network:
    monkeypatch.setattr(measure, "Process", FakeProcess)
    monkeypatch.setattr(measure, "REST", 0)
    monkeypatch.setattr(FakeProcess, "turns", [])
    return Network("fake", tmp_path, {})


def test_turns_and_who_is_left_out(fake: Network) -> None:
    left_out: list[dict[str, str]] = []
    rows = measure.speed(fake, Case(8, 8), (OURS, "onnxruntime", "ncnn", "spandrel"), rounds=3, left_out=left_out)
    assert FakeProcess.turns[:8] == [OURS, "ncnn", "spandrel"] * 2 + [OURS, "spandrel"]
    assert [row["beside"] for row in rows] == [{OURS: [2.0] * 3}] * 2
    assert sorted(FakeProcess.turns[8:]) == sorted(f"{name} closed" for name in (OURS, "onnxruntime", "ncnn", "spandrel"))
    assert [(row["contender"], row["seconds"], row["memory"]) for row in rows] == [(OURS, [2.0] * 3, 3), ("spandrel", [2.0] * 3, 3)]
    assert [(row["contender"], row["why"]) for row in left_out] == [
        ("onnxruntime", "it gives another picture than this library, 0.300 apart in the mean"),
        ("ncnn", "it died"),
    ]


def test_no_more_than_fit_into_memory_take_turns_at_a_time(fake: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "AT_A_TIME", 1)
    rows = measure.speed(fake, Case(8, 8), (OURS, OURS_AUTO, "spandrel", LIMIT), rounds=2, left_out=[])
    assert [turn for turn in FakeProcess.turns if "closed" not in turn] == [OURS, OURS_AUTO, "spandrel"] * 2 + [OURS, OURS_AUTO, LIMIT] * 2
    assert [(row["contender"], len(row["seconds"]), len(row["beside"][OURS])) for row in rows] == [
        (OURS, 4, 4),
        (OURS_AUTO, 4, 4),
        ("spandrel", 2, 2),
        (LIMIT, 2, 2),
    ]


def test_growth(fake: Network) -> None:
    points = list(measure.growth(fake, {"rows": [(8, Case(16, 8, tile=4))]}))
    assert [(point["contender"], point["by"], point["value"], point["seconds"]) for point in points] == [
        (OURS, "rows", 8, 2.0),
        (OURS_AUTO, "rows", 8, 2.0),
    ]
    assert FakeProcess.turns == [OURS, f"{OURS} closed", OURS_AUTO, f"{OURS_AUTO} closed"]


def test_this_library_must_take_part(fake: Network) -> None:
    fake.missing["fused.safetensors"] = "no room"
    with pytest.raises(LeftOutError, match="no room"):
        measure.speed(fake, Case(8, 8), (OURS, "spandrel"), rounds=1, left_out=[])


def test_a_round_of_real_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psutil")
    monkeypatch.delenv("COMFYUI_DIR", raising=False)
    names = (OURS, LIMIT, STOCK, "spandrel")
    network = Network.write("tiny", span_arch.from_state_dict(SPAN(feature_channels=4).state_dict()), tmp_path / "tiny", names)
    left_out: list[dict[str, str]] = []
    rows = measure.speed(network, Case(24, 16, frames=2), names, rounds=1, left_out=left_out)
    assert [row["contender"] for row in rows] == [OURS, LIMIT, "spandrel"]
    assert all(len(row["seconds"]) == 1 and row["seconds"][0] > 0 and row["memory"] >= 0 and row["versions"]["torch"] for row in rows)
    assert left_out == [{"network": "tiny", "image": "2 of 24x16", "contender": STOCK, "why": "COMFYUI_DIR names no tree of ComfyUI"}]
    assert json.loads(json.dumps(rows)) == rows
