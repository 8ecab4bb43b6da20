"""Predicting results from file headers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from span_arch import Settings, errors
from span_arch.batch import Job, estimate, forecast, upscale_jobs
from span_arch.image_files import read_images
from span_arch.image_ops import sizes
from span_arch.video import VideoSettings

from ..samples import model
from .sample_files import animate, draw, jobs_for, visible_files

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("size", [None, sizes.Longest(33), sizes.Exact(10, 10, "fill")])
def test_forecast_comes_true(size: Any) -> None:
    jobs = jobs_for([draw("a.png"), draw("b.png", "RGBA"), animate("c.gif")], settings=Settings(size=size))
    before = visible_files()
    expected = [forecast(model(), job) for job in jobs]
    total = estimate(model(), [(job, one) for job, one in zip(jobs, expected, strict=True) if one is not None])
    assert visible_files() == before
    outcomes = list(upscale_jobs(model(), jobs))
    assert [(one.source_size, one.result_size, one.frames) for one in expected if one] == [
        (outcome.source_size, outcome.result_size, outcome.frames) for outcome in outcomes
    ]
    results = [frame.image for job in jobs for frame in read_images(job.target).frames]
    assert total.bytes == sum(image.numel() for image in results)
    assert total.pixels == sum(image[..., 0].numel() for image in results)
    assert 0 < total.seconds < 60


def test_forecast_reports_failures_and_skipped_files() -> None:
    source = draw("a.png", "RGBA")
    Path("b.png").touch()
    assert forecast(model(), Job(source, Path("b.png"), existing="skip")) is None
    for job, error in (
        (Job(source, Path("b.png")), errors.OutputError),
        (Job(source, Path("b.jpg")), errors.OutputError),
        (Job(Path("none.png"), Path("c.png")), errors.ImageError),
        (Job(source, Path("none/c.png")), errors.OutputError),
        (Job(source, Path("c.mp4"), video=VideoSettings("vp8")), errors.OptionError),
    ):
        with pytest.raises(error):
            forecast(model(), job)
    assert forecast(model(), Job(source, Path("none/c.png"), make_folder=True)) is not None
