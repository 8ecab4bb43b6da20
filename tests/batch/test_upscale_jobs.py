"""Many files: their results, failures, progress and interruption."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

import span_arch
from span_arch import Settings, errors
from span_arch._util.files import replacing
from span_arch.batch import Job, Outcome, run_job, upscale_jobs
from span_arch.batch.image_stream import upscale_images
from span_arch.batch.job import until_disk_full
from span_arch.engine.context import Context
from span_arch.engine.progress import Progress
from span_arch.image_files import Animation, AnimationFrame, read_header, read_image, read_images, write_images
from span_arch.image_ops import sizes

from ..faults import Stop, stop_at
from ..samples import small_model
from .sample_files import animate, draw, film, jobs_for, visible_files

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def states(outcomes: Iterable[Outcome]) -> list[str]:
    return [outcome.state for outcome in outcomes]


def assert_helper_threads_ended() -> None:
    assert not any(thread.name.startswith("span-helper") for thread in threading.enumerate())


# Results


def test_images_of_all_modes_and_sizes_equal_those_upscaled_alone() -> None:
    kinds = [("RGB", (20, 14)), ("RGB", (20, 14)), ("RGBA", (20, 14)), ("L", (9, 30)), ("P", (20, 14)), ("RGB", (1, 1))]
    sources = [draw(f"in/{index}.png", mode, size, seed=index) for index, (mode, size) in enumerate(kinds)]
    outcomes = list(upscale_jobs(small_model(), jobs_for(sources)))
    assert [outcome.job.source for outcome in outcomes] == sources
    assert states(outcomes) == ["done"] * len(sources)
    for source, outcome in zip(sources, outcomes, strict=True):
        image = read_image(source).image
        expected = span_arch.upscale(small_model(), image)
        torch.testing.assert_close(read_image(outcome.job.target).image, expected, atol=0.51 / 255, rtol=0)
        assert (outcome.source_size, outcome.result_size) == (tuple(image.shape[1:3]), tuple(expected.shape[1:3]))
    assert str(outcomes[0]) == f"{Path('out/0.png')}: 20x14 to 40x28."


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_animation_keeps_its_frames_and_durations(name: str) -> None:
    source = animate(name)
    outcome = run_job(small_model(), Job(source, Path(f"large-{name}")))
    assert (outcome.state, outcome.frames) == ("done", 4)
    small, large = read_images(source), read_images(Path(f"large-{name}"))
    assert [frame.duration for frame in large.frames] == [frame.duration for frame in small.frames]
    assert {tuple(frame.image.shape) for frame in large.frames} == {(1, 28, 40, 3)}
    if name != "a.gif":  # which is limited to 256 colours
        expected = span_arch.upscale(small_model(), torch.cat([frame.image for frame in small.frames]))
        torch.testing.assert_close(torch.cat([frame.image for frame in large.frames]), expected, atol=0.51 / 255, rtol=0)


def test_each_job_uses_its_own_settings() -> None:
    source = draw("a.png")
    wanted = [Settings(), Settings(size=sizes.Exact(7, 5)), Settings(ensemble=True), Settings()]
    jobs = [Job(source, Path(f"{index}.webp"), one, quality=50) for index, one in enumerate(wanted)]
    assert [outcome.result_size for outcome in upscale_jobs(small_model(), jobs)] == [(28, 40), (5, 7), (28, 40), (28, 40)]
    headers = [read_header(job.target) for job in jobs]
    assert [(header.height, header.width) for header in headers] == [(28, 40), (5, 7), (28, 40), (28, 40)]


def test_existing_target_is_kept_skipped_or_replaced() -> None:
    source = draw("a.png")
    Path("b.png").write_text("mine")
    assert isinstance(run_job(small_model(), Job(source, Path("b.png"))).error, errors.OutputError)
    skipped = run_job(small_model(), Job(Path("none.png"), Path("b.png"), existing="skip"))
    assert (skipped.state, str(skipped)) == ("skipped", "b.png: skipped because it exists.")
    assert Path("b.png").read_text() == "mine"
    assert run_job(small_model(), Job(source, Path("b.png"), existing="replace")).state == "done"
    assert read_header(Path("b.png")).width == 40


def test_jobs_and_outcomes_can_be_pickled() -> None:
    jobs = jobs_for([draw("a.png"), Path("none.png")], settings=Settings(size=sizes.Longest(30)))
    outcomes = [run_job(small_model(), job) for job in pickle.loads(pickle.dumps(jobs))]
    assert [str(outcome) for outcome in pickle.loads(pickle.dumps(outcomes))] == [str(outcome) for outcome in outcomes]
    assert states(outcomes) == ["done", "failed"]


def test_few_images_are_held_however_many_there_are() -> None:
    sources, read, most = [draw(f"{index}.png", seed=index) for index in range(20)], 0, 0

    def counted(path: Path) -> Animation:
        nonlocal read
        read += 1
        return read_images(path)

    for done, _ in enumerate(upscale_images(small_model(), jobs_for(sources), read=counted)):
        time.sleep(0.01)
        most = max(most, read - done)
    assert most <= 9  # two waiting and one being read, one in the network, one being written, and outcomes that nobody has taken yet


def test_images_and_videos_can_be_mixed() -> None:
    video = pytest.importorskip("span_arch.video", reason="PyAV is not installed")
    pytest.importorskip("av", reason="PyAV is not installed")
    good = film("film.nut")
    Path("text.mp4").write_text("text")
    jobs = [
        *jobs_for([draw("a.png")]),
        Job(good, Path("out/film.mkv")),
        *jobs_for([Path("text.mp4"), Path("none.mov"), draw("b.png")]),
        Job(animate("c.gif"), Path("c.mkv")),
    ]
    items: list[str] = []
    outcomes = list(upscale_jobs(small_model(), jobs, Context(progress=lambda event: items.append(event.item.source.name))))
    assert states(outcomes) == ["done", "done", "failed", "failed", "done", "done"]
    assert (outcomes[1].frames, outcomes[1].result_size) == (3, (48, 64))
    assert video.probe(Path("out/film.mkv")).width == 64
    assert video.probe(Path("c.mkv")).frames == 4
    assert list(dict.fromkeys(items)) == ["a.png", "film.nut", "b.png", "c.gif"]


# Failures


def test_failing_files_do_not_stop_the_others() -> None:
    good = [draw(f"good{index}.png", seed=index) for index in range(3)]
    damaged = draw("damaged.png")
    damaged.write_bytes(damaged.read_bytes()[:200])
    Path("text.png").write_text("text")
    Path("occupied/x.png").mkdir(parents=True)
    unreadable = jobs_for([Path("none.png"), damaged, Path("text.png")])
    unwritable = [
        Job(good[1], Path("occupied/x.png")),
        Job(draw("alpha.png", "RGBA"), Path("out/alpha.jpg")),
        Job(animate("a.gif"), Path("out/a.jpg")),
        Job(good[1], Path("none/a.png")),
        Job(good[1], Path("out") / f"{'n' * 300}.png"),
        Job(good[1], Path("out/a.xyz")),
        Job(good[1], Path("good1.png/a.png"), make_folder=True),
    ]
    jobs = [unreadable[0], *jobs_for(good[:1]), *unreadable[1:], *unwritable, *jobs_for(good[1:])]
    outcomes = {outcome.job: outcome for outcome in upscale_jobs(small_model(), jobs)}
    assert outcomes.keys() == set(jobs)
    assert {job.target.name for job in jobs if outcomes[job].state == "done"} == {"good0.png", "good1.png", "good2.png"}
    assert {type(outcomes[job].error) for job in unreadable} == {errors.ImageError}
    assert {type(outcomes[job].error) for job in unwritable} == {errors.OutputError}
    assert {path.name for path in Path("out").iterdir()} == {"good0.png", "good1.png", "good2.png"}


def test_animation_that_breaks_midway_leaves_no_file() -> None:
    source = animate("a.gif")

    def broken(path: Path) -> Animation:
        whole = read_images(path)

        def frames() -> Iterator[AnimationFrame]:
            for index, frame in enumerate(whole.frames):
                if index == 3:
                    raise errors.ImageError("broken in the middle")
                yield frame

        return Animation(frames(), whole.info, whole.count)

    (outcome,) = upscale_images(small_model(), jobs_for([source]), read=broken)
    assert str(outcome.error) == "broken in the middle"
    assert not list(Path("out").iterdir())


@settings(max_examples=40)
@given(bad=st.lists(st.booleans(), min_size=1, max_size=7), group=st.integers(1, 3), animated=st.booleans())
def test_only_images_that_the_network_fails_on_fail(bad: list[bool], group: int, animated: bool) -> None:
    def upscale(_: Any, frames: Iterable[Tensor], *__: Any) -> Iterator[Tensor]:
        """Upscale frames in groups, as on a GPU. A group fails as a whole."""
        waiting: list[Tensor] = []

        def flush() -> Iterator[Tensor]:
            if any(frame.mean() > 0.99 for frame in waiting):
                raise errors.NotFiniteError("not finite")
            yield from [frame.repeat_interleave(2, 0).repeat_interleave(2, 1) for frame in waiting]
            waiting.clear()

        for frame in frames:
            waiting.append(frame)
            if len(waiting) == group:
                yield from flush()
        yield from flush()

    with tempfile.TemporaryDirectory() as folder:
        sources: list[Path] = []
        for index, is_bad in enumerate(bad):
            sources.append(Path(folder, f"{index}.gif"))
            still, last = Image.new("L", (4, 3), 60), Image.new("L", (4, 3), 255 if is_bad else 90)
            (still if animated else last).save(sources[-1], save_all=animated, **({"append_images": [last]} if animated else {}))
        outcomes = list(upscale_images(small_model(), jobs_for(sources, f"{folder}/out"), upscale=upscale))
        expected = {source: "failed" if is_bad else "done" for source, is_bad in zip(sources, bad, strict=True)}
        assert len(outcomes) == len(bad)
        assert {outcome.job.source: outcome.state for outcome in outcomes} == expected
        written = sorted(path.name for path in Path(folder, "out").iterdir())
        assert written == [source.name for source in sources if expected[source] == "done"]


def test_unexpected_error_is_reported_as_a_bug() -> None:
    def breaks(_: Path) -> Animation:
        raise ZeroDivisionError("by zero")

    (outcome,) = upscale_images(small_model(), jobs_for([draw("a.png")]), read=breaks)
    assert "failed unexpectedly (ZeroDivisionError: by zero)" in str(outcome)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_ends_the_run(number: int) -> None:
    def write(path: Path, animation: Animation, **options: Any) -> None:
        if path.name == "2.png":
            with replacing(path, overwrite=False):
                raise OSError(number, os.strerror(number))
        write_images(path, animation, **options)

    jobs = jobs_for([draw(f"{index}.png") for index in range(9)])
    outcomes = list(until_disk_full(upscale_images(small_model(), jobs, write=write)))
    assert states(outcomes) == ["done", "done", "failed"]
    assert isinstance(outcomes[-1].error, errors.DiskFullError)
    assert all(read_header(path).width == 40 for path in Path("out").iterdir())


# Progress and interruption


def test_progress_reaches_the_end_of_each_job() -> None:
    sources = [draw("a.png"), animate("b.gif"), draw("c.png", size=(30, 30)), draw("d.png", size=(30, 30))]
    events: dict[str, list[Progress]] = {}
    context = Context(progress=lambda event: events.setdefault(event.item.source.name, []).append(event))
    list(upscale_jobs(small_model(), jobs_for(sources), context))
    assert {name: one[-1].frame for name, one in events.items()} == {"a.png": 1, "b.gif": 4, "c.png": 1, "d.png": 1}
    for one in events.values():
        assert {event.frames for event in one} == {one[-1].frame}
        assert [event.done for event in one] == sorted(event.done for event in one)
        assert (one[0].done, one[-1].done) == (0, 1)


def test_exception_from_progress_ends_the_run_without_half_written_files() -> None:
    jobs = jobs_for([draw(f"{index}.png", seed=index) for index in range(6)])
    with pytest.raises(Stop):
        list(upscale_jobs(small_model(), jobs, Context(progress=stop_at(8))))
    assert all(read_header(path).width == 40 for path in Path("out").iterdir())
    assert_helper_threads_ended()


def test_closing_the_iterator_ends_the_run_without_half_written_files() -> None:
    jobs = jobs_for([draw(f"{index}.png", seed=index) for index in range(8)])
    outcomes = upscale_jobs(small_model(), jobs)
    assert next(outcomes).job is jobs[0]
    outcomes.close()
    written = sorted(Path("out").iterdir())
    assert all(read_header(path).width == 40 for path in written)
    assert len(written) < len(jobs)
    assert_helper_threads_ended()


@pytest.mark.parametrize("resume", [False, True])
def test_stopped_video_keeps_its_segments_only_with_resume(resume: bool) -> None:
    pytest.importorskip("av", reason="PyAV is not installed")
    job = Job(film("film.nut"), Path("film.mkv"), resume=resume)
    with pytest.raises(Stop):
        run_job(small_model(), job, Context(progress=stop_at(2)))
    assert Path("film.mkv.segments").is_dir() == resume
    assert not Path("film.mkv").exists()
    assert run_job(small_model(), job).state == "done"
    assert visible_files() == {"film.nut", "film.mkv"}


def test_exception_from_progress_ends_a_video() -> None:
    pytest.importorskip("av", reason="PyAV is not installed")

    def cancel(_: Progress) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        run_job(small_model(), Job(film("film.nut"), Path("film.mkv")), Context(progress=cancel))
    assert visible_files() == {"film.nut"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
@pytest.mark.parametrize(("number", "content"), [(signal.SIGINT, "images"), (signal.SIGTERM, "a video")])
def test_signal_ends_the_command_without_half_written_files(number: int, content: str) -> None:
    if content == "a video":
        pytest.importorskip("av", reason="PyAV is not installed")
        Path("in").mkdir()
        film("in/a.nut", frames=900)
    else:
        for index in range(200):
            draw(f"in/{index:03}.png", size=(96, 96), seed=index)
    command = [sys.executable, "-m", "span_arch", "in", "out", "--model", "spanx4_ch48"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    not_ignored = {"preexec_fn": lambda: signal.signal(number, signal.SIG_DFL)}  # the parent of the tests may have it ignored
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **not_ignored)
    while not (Path("out").is_dir() and list(Path("out").iterdir())):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130, messages
    assert "stopped; finished files are kept" in messages
    assert "Traceback" not in messages
    assert all(path.suffix == ".png" and read_header(path).width == 384 for path in Path("out").iterdir())
    assert not list(Path("out").glob(".*"))
