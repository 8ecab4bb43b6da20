"""Many files: which there are, what becomes of them, and what goes wrong."""

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
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st
from PIL import Image, ImageFile
from torch import Tensor

import span_arch
from span_arch import Settings, errors
from span_arch.archs.span import SPAN
from span_arch.batch import Formats, Job, Outcome, estimate, find, foresee, formats_of, images, run_job, upscale_jobs, videos
from span_arch.image_files import read_header, read_image, read_images
from span_arch.image_ops import sizes

from ..faults import Stop, stop_at

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@cache
def model() -> span_arch.FamilyModel:
    torch.manual_seed(0)
    return span_arch.from_state_dict(SPAN(feature_channels=8, blocks=1, scale=2, normalisation=None).state_dict())


def noise(mode: str = "RGB", size: tuple[int, int] = (20, 14), seed: int = 0) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 4), dtype=np.uint8)
    return Image.fromarray(levels).convert("RGB" if mode in ("P", "CMYK") else mode).convert(mode)


def draw(path: str, mode: str = "RGB", size: tuple[int, int] = (20, 14), seed: int = 0, **settings: Any) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    noise(mode, size, seed).save(path, **settings)
    return Path(path)


def animate(path: str, frames: int = 4) -> Path:
    first, *others = (noise(seed=seed) for seed in range(frames))
    first.save(path, save_all=True, append_images=others, duration=[40 + 10 * index for index in range(frames)], loop=0)
    return Path(path)


def jobs_for(sources: Iterable[Path], folder: str = "out", **fields: Any) -> list[Job]:
    return [Job(source, Path(folder) / source.name, make_folder=True, **fields) for source in sources]


def states(outcomes: Iterable[Outcome]) -> list[str]:
    return [outcome.state for outcome in outcomes]


def everything() -> set[str]:
    return {str(path) for path in Path().rglob("*") if not path.is_dir()}


# Which files there are


def make_files(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def found(*inputs: str, output: str = "out", **options: Any) -> list[tuple[str, str]]:
    return [(source.as_posix(), target.as_posix()) for source, target in find(inputs, output, **options).pairs]


def test_a_file_goes_to_a_file_or_into_a_folder() -> None:
    make_files("a.png", "there/b.png")
    assert found("a.png", output="b.jpg") == [("a.png", "b.jpg")]
    assert found("a.png", output="there") == [("a.png", "there/a.png")]
    assert found("a.png", output=f"new{os.sep}") == [("a.png", "new/a.png")]
    assert found("a.png", "there/b.png") == [("a.png", "out/a.png"), ("there/b.png", "out/b.png")]


def test_a_folder_keeps_its_structure() -> None:
    make_files("in/b.png", "in/A.JPG", "in/notes.txt", "in/.hidden.png", "in/.cache/a.png", "in/sub/写真 1.webp", "in/sub/film.mp4")
    assert found("in") == [("in/A.JPG", "out/A.JPG"), ("in/b.png", "out/b.png")]
    inside = [("in/sub/film.mp4", "out/sub/film.mp4"), ("in/sub/写真 1.webp", "out/sub/写真 1.webp")]
    assert found("in", recursive=True) == [*found("in"), *inside]
    assert find(["in"], "out").ignored == (Path("in/notes.txt"),)


def test_patterns_are_those_of_shells() -> None:
    make_files("a1.png", "a2.png", "b.png", "sub/a3.png", "[x].png")
    assert found("a*.png") == [("a1.png", "out/a1.png"), ("a2.png", "out/a2.png")]
    assert found("**/a3.png") == [("sub/a3.png", "out/a3.png")]
    assert found("[x].png", output="b2.png") == [("[x].png", "b2.png")]  # a file of that name is that file
    with pytest.raises(errors.ImageError, match=r"pattern 'c\*\.png' matches"):
        find(["c*.png"], "out")


def test_what_cannot_be_written_changes_its_suffix_and_formats_can_be_asked_for() -> None:
    make_files("in/a.psd", "in/b.avi", "in/c.jpg", "in/d.mov", "scan")
    assert [target for _, target in found("in")] == ["out/a.png", "out/b.mkv", "out/c.jpg", "out/d.mov"]
    assert [target for _, target in found("in", formats=formats_of(["webp", ".MP4"]))] == [
        "out/a.webp",
        "out/b.mp4",
        "out/c.webp",
        "out/d.mp4",
    ]
    assert found("scan", "in/c.jpg")[0] == ("scan", "out/scan.png")


@pytest.mark.parametrize("names", [["exe"], ["png", "jpg"], ["mp4", "mkv"], ["avi"]])
def test_formats_that_make_no_sense(names: list[str]) -> None:
    with pytest.raises(errors.OptionError):
        formats_of(names)


def test_results_are_never_inputs() -> None:
    make_files("in/a.png", "in/out/a.png", "in/out/deep/b.png")
    assert found("in", output="in/out", recursive=True) == [("in/a.png", "in/out/a.png")]
    with pytest.raises(errors.OutputError, match="folder of the inputs itself"):
        find(["in"], "in/../in")
    with pytest.raises(errors.OutputError, match="would replace that file itself"):
        find(["in/a.png"], "in/a.png")
    with pytest.raises(errors.OutputError, match=r"would replace 'in/out/a\.png', which is an input"):
        find(["in/a.png", "in/out/a.png"], "in/out")


@pytest.mark.parametrize("inputs", [("x/a.png", "y/a.png"), ("x", "y"), ("z",)])
def test_two_results_of_one_name_are_refused_and_both_are_named(inputs: tuple[str, ...]) -> None:
    make_files("x/a.png", "y/a.png", "z/b.jpg", "z/b.png")
    with pytest.raises(errors.OutputError, match=r"'[xz].[ab].(png|jpg)' and '[yz].[ab].png' would both be '"):
        find(inputs, "out", formats=Formats("png"))


def test_what_is_named_twice_is_done_once() -> None:
    make_files("in/a.png")
    assert found("in", "in/a.png", "in/../in/a.png") == [("in/a.png", "out/a.png")]


def test_nothing_to_do_is_told() -> None:
    make_files("in/notes.txt", "in/sub/a.png", "file.png")
    for inputs, output, error, words in (
        (["in"], "out", errors.ImageError, "no picture and no video in 'in'; files of other kinds: 1"),
        (["in", "file.png"], "file.png", errors.OutputError, "'file.png' is a file"),
    ):
        with pytest.raises(error, match=words):
            find(inputs, output)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_links_to_files_are_followed_and_links_to_folders_are_not() -> None:
    make_files("elsewhere/a.png", "in/sub/b.png")
    Path("in/link.png").symlink_to(Path("elsewhere/a.png").absolute())
    Path("in/sub/loop").symlink_to(Path("in").absolute())
    Path("in/itself.png").symlink_to(Path("in/itself.png").absolute())
    Path("in/other").symlink_to(Path("elsewhere").absolute())
    os.mkfifo("in/pipe.png")  # which would be waited for
    names = [source for source, _ in found("in", recursive=True)]
    assert names == ["in/itself.png", "in/link.png", "in/sub/b.png"]  # the first is told when it is read
    assert set(find(["in"], "out", recursive=True).ignored) == {Path("in/other"), Path("in/pipe.png"), Path("in/sub/loop")}
    Path("replaced.png").symlink_to("elsewhere/a.png")
    with pytest.raises(errors.OutputError, match="would replace"):
        find(["elsewhere/a.png"], "replaced.png")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may look into everything")
def test_a_folder_that_may_not_be_looked_into_is_told_and_others_are_not_kept_from_it() -> None:
    make_files("in/a.png", "in/closed/b.png")
    Path("in/closed").chmod(0)
    try:
        seen = find(["in"], "out", recursive=True)
    finally:
        Path("in/closed").chmod(0o700)
    assert [source.name for source, _ in seen.pairs] == ["a.png"]
    assert "cannot be looked into: Permission denied" in str(seen.errors[0])


names = st.sampled_from(["a.png", "b.jpg", "a.jpg", "b.psd", "c.mp4", "c.avi", "d.txt", ".e.png", "é.webp"])
places = st.sampled_from(["", "x", "y", "x/y", "x/x", "out", "x/out"])


@effort(max_examples=200)
@given(
    tree=st.sets(st.tuples(places, names), min_size=1, max_size=12),
    inputs=st.lists(places.map(lambda place: place or "."), min_size=1, max_size=3),
    output=places.filter(bool),
    recursive=st.booleans(),
    picture=st.sampled_from([None, "png"]),
)
def test_targets_are_never_inputs_nor_equal(
    tree: set[tuple[str, str]], inputs: list[str], output: str, recursive: bool, picture: str | None
) -> None:
    with tempfile.TemporaryDirectory() as root:
        for place in ("", "x", "y", "x/y", "x/x", "out", "x/out"):
            Path(root, place).mkdir(exist_ok=True, parents=True)
        for place, name in tree:
            Path(root, place, name).touch()
        before = {path: path.stat().st_mtime_ns for path in Path(root).rglob("*")}
        try:
            seen = find([Path(root, place) for place in inputs], Path(root, output), recursive=recursive, formats=Formats(picture))
        except errors.SpanArchError:
            return
        sources, targets = ([path.resolve() for path in side] for side in zip(*seen.pairs, strict=True))
        assert len(set(targets)) == len(targets)
        assert not set(sources) & set(targets)
        assert all(path.is_file() and not path.name.startswith(".") for path in sources)
        assert all(path.is_relative_to(Path(root, output).resolve()) for path in targets)
        assert {path: path.stat().st_mtime_ns for path in Path(root).rglob("*")} == before


# What becomes of them


def test_pictures_of_all_sizes_become_what_they_become_alone() -> None:
    kinds = [("RGB", (20, 14)), ("RGB", (20, 14)), ("RGBA", (20, 14)), ("L", (9, 30)), ("P", (20, 14)), ("RGB", (1, 1))]
    sources = [draw(f"in/{index}.png", mode, size, seed=index) for index, (mode, size) in enumerate(kinds)]
    outcomes = list(upscale_jobs(model(), jobs_for(sources)))
    assert [outcome.job.source for outcome in outcomes] == sources
    assert states(outcomes) == ["done"] * len(sources)
    for source, outcome in zip(sources, outcomes, strict=True):
        image = read_image(source).image
        expected = span_arch.upscale(model(), image)
        torch.testing.assert_close(read_image(outcome.job.target).image, expected, atol=0.51 / 255, rtol=0)
        assert (outcome.before, outcome.after) == (tuple(image.shape[1:3]), tuple(expected.shape[1:3]))
    assert str(outcomes[0]) == f"{Path('out/0.png')}: 20x14 to 40x28."


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_animations_stay_animated(name: str) -> None:
    source = animate(name)
    outcome = run_job(model(), Job(source, Path(f"large-{name}")))
    assert (outcome.state, outcome.frames) == ("done", 4)
    small, large = read_images(source), read_images(Path(f"large-{name}"))
    assert [frame.duration for frame in large.frames] == [frame.duration for frame in small.frames]
    assert {tuple(frame.image.shape) for frame in large.frames} == {(1, 28, 40, 3)}
    if name != "a.gif":  # which has 256 colours
        expected = span_arch.upscale(model(), torch.cat([frame.image for frame in small.frames]))
        torch.testing.assert_close(torch.cat([frame.image for frame in large.frames]), expected, atol=0.51 / 255, rtol=0)


def test_settings_may_change_from_job_to_job() -> None:
    source = draw("a.png")
    wishes = [Settings(), Settings(size=sizes.Exact(7, 5)), Settings(ensemble=True), Settings()]
    jobs = [Job(source, Path(f"{index}.webp"), wish, quality=50) for index, wish in enumerate(wishes)]
    assert [outcome.after for outcome in upscale_jobs(model(), jobs)] == [(28, 40), (5, 7), (28, 40), (28, 40)]
    assert [(seen.height, seen.width) for seen in (read_header(job.target) for job in jobs)] == [(28, 40), (5, 7), (28, 40), (28, 40)]


def test_what_is_there_is_kept_skipped_or_replaced() -> None:
    source = draw("a.png")
    Path("b.png").write_text("mine")
    assert "already exists" in str(run_job(model(), Job(source, Path("b.png"))).error)
    skipped = run_job(model(), Job(Path("none.png"), Path("b.png"), existing="skip"))
    assert (skipped.state, str(skipped)) == ("skipped", "b.png: skipped, it is there already.")
    assert Path("b.png").read_text() == "mine"
    assert run_job(model(), Job(source, Path("b.png"), existing="replace")).state == "done"
    assert read_header(Path("b.png")).width == 40


def test_jobs_and_outcomes_can_be_sent_elsewhere() -> None:
    jobs = jobs_for([draw("a.png"), Path("none.png")], settings=Settings(size=sizes.Longest(30)))
    jobs = pickle.loads(pickle.dumps(jobs))
    outcomes = [run_job(model(), job) for job in jobs]
    assert [str(outcome) for outcome in pickle.loads(pickle.dumps(outcomes))] == [str(outcome) for outcome in outcomes]
    assert states(outcomes) == ["done", "failed"]


def test_progress_is_told_of_each_job_to_its_end() -> None:
    sources = [draw("a.png"), animate("b.gif"), draw("c.png", size=(30, 30)), draw("d.png", size=(30, 30))]
    told: dict[str, list[tuple[int, int]]] = {}
    list(
        upscale_jobs(
            model(),
            jobs_for(sources),
            context=span_arch.Context(progress=lambda job, *step: told.setdefault(job.source.name, []).append(step)),
        )
    )
    assert {name: steps[-1] for name, steps in told.items()} == {
        "a.png": (280, 280),
        "b.gif": (1120, 1120),
        "c.png": (900, 900),
        "d.png": (900, 900),
    }
    assert all(total == 1120 for _, total in told["b.gif"])
    assert all(steps == sorted(steps) for steps in told.values())


def test_what_progress_raises_ends_all_and_leaves_nothing_half_done() -> None:
    jobs = jobs_for([draw(f"{index}.png", seed=index) for index in range(6)])
    cancel = stop_at(8)
    with pytest.raises(Stop):
        list(upscale_jobs(model(), jobs, context=span_arch.Context(progress=lambda _, *step: cancel(*step))))
    assert all(read_header(path).width == 40 for path in Path("out").iterdir())
    assert not any(thread.name.startswith("span-helper") for thread in threading.enumerate())


def test_whoever_has_enough_can_go() -> None:
    jobs = jobs_for([draw(f"{index}.png", seed=index) for index in range(8)])
    outcomes = upscale_jobs(model(), jobs)
    assert next(outcomes).job is jobs[0]
    outcomes.close()
    written = sorted(Path("out").iterdir())
    assert all(read_header(path).width == 40 for path in written)
    assert len(written) < len(jobs)
    assert not any(thread.name.startswith("span-helper") for thread in threading.enumerate())


def test_few_pictures_are_held_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    sources, read, most = [draw(f"{index}.png", seed=index) for index in range(20)], 0, 0

    def counted(path: Path) -> Any:
        nonlocal read
        read += 1
        return read_images(path)

    monkeypatch.setattr(images, "read_images", counted)
    for done, _ in enumerate(upscale_jobs(model(), jobs_for(sources))):
        time.sleep(0.01)
        most = max(most, read - done)
    assert most <= 9  # two read and one about to be, one in the network, and those whose outcomes nobody has asked for


# What goes wrong


def test_what_fails_keeps_nothing_else_from_being_done() -> None:
    good = [draw(f"good{index}.png", seed=index) for index in range(3)]
    damaged = draw("damaged.png")
    damaged.write_bytes(damaged.read_bytes()[:200])
    Path("text.png").write_text("text")
    Path("occupied/x.png").mkdir(parents=True)
    jobs = [
        *jobs_for([Path("none.png"), good[0], damaged, Path("text.png")]),
        Job(good[1], Path("occupied/x.png")),
        Job(draw("alpha.png", "RGBA"), Path("out/alpha.jpg")),
        Job(animate("a.gif"), Path("out/a.jpg")),
        Job(good[1], Path("none/a.png")),
        Job(good[1], Path("out") / f"{'n' * 300}.png"),
        Job(good[1], Path("out/a.xyz")),
        Job(good[1], Path("good1.png/a.png"), make_folder=True),
        *jobs_for(good[1:]),
    ]
    outcomes = list(upscale_jobs(model(), jobs))
    assert {outcome.job for outcome in outcomes} == set(jobs)
    assert {outcome.job.target.name for outcome in outcomes if outcome.state == "done"} == {"good0.png", "good1.png", "good2.png"}
    told = "\n".join(str(outcome.error) for outcome in outcomes if outcome.error is not None)
    for words in (
        *("There is no file", "damaged", "is not an image", "is a folder", "transparency", "frames of an animation", "there is no folder"),
        *("File name too long", "not an image format", "cannot be created"),
    ):
        assert words in told
    assert "not foreseen" not in told
    assert {str(path.name) for path in Path("out").iterdir()} == {"good0.png", "good1.png", "good2.png"}


def test_an_animation_that_is_broken_in_the_middle_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    source = animate("a.gif")
    animation = read_images(source)

    def broken(_: Path) -> Any:
        def frames() -> Iterator[Any]:
            first, second, third, _ = animation.frames
            yield from (first, second, third)
            raise errors.ImageError("broken in the middle")

        return type(animation)(frames(), animation.info, animation.count)

    with monkeypatch.context() as patch:
        patch.setattr(images, "read_images", broken)
        (outcome,) = upscale_jobs(model(), jobs_for([source]))
    assert str(outcome.error) == "broken in the middle"
    assert not list(Path("out").iterdir())


@effort(max_examples=40)
@given(bad=st.lists(st.booleans(), min_size=1, max_size=7), group=st.integers(1, 3), animated=st.booleans())
def test_exactly_those_fail_that_the_network_fails_on(bad: list[bool], group: int, animated: bool) -> None:
    def upscale(_: Any, frames: Iterable[Tensor], **__: Any) -> Iterator[Tensor]:
        """As on a GPU: some at a time, which fail together."""
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

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "upscale_frames", upscale)
        sources: list[Path] = []
        for index, is_bad in enumerate(bad):
            sources.append(Path(folder, f"{index}.gif"))
            still, last = Image.new("L", (4, 3), 60), Image.new("L", (4, 3), 255 if is_bad else 90)
            (still if animated else last).save(sources[-1], save_all=animated, **({"append_images": [last]} if animated else {}))
        outcomes = list(upscale_jobs(model(), jobs_for(sources, f"{folder}/out")))
        assert len(outcomes) == len(bad)
        assert {outcome.job.source: outcome.state for outcome in outcomes} == {
            source: "failed" if is_bad else "done" for source, is_bad in zip(sources, bad, strict=True)
        }
        assert sorted(path.name for path in Path(folder, "out").iterdir()) == [
            f"{index}.gif" for index, is_bad in enumerate(bad) if not is_bad
        ]


def test_an_error_that_nobody_foresaw_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(_: Path) -> Any:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(images, "read_images", breaks)
    (outcome,) = upscale_jobs(model(), jobs_for([draw("a.png")]))
    assert "was not foreseen (ZeroDivisionError: by zero)" in str(outcome)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_ends_it(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = jobs_for([draw(f"{index}.png") for index in range(9)])

    def full(path: Path, *arguments: Any, **options: Any) -> int:
        if Path(path).name.startswith(".2."):
            raise OSError(number, os.strerror(number))
        return create(path, *arguments, **options)

    create = os.open
    monkeypatch.setattr(os, "open", full)
    outcomes = list(upscale_jobs(model(), jobs))
    assert states(outcomes) == ["done", "done", "failed"]
    assert isinstance(outcomes[-1].error, errors.DiskFullError)
    assert all(read_header(path).width == 40 for path in Path("out").iterdir())


# Videos


def film(path: str, frames: int = 3) -> Path:
    from span_arch.video import compose

    images = torch.rand(frames, 24, 32, 3, generator=torch.Generator().manual_seed(0))
    compose(Path(path), images, Fraction(25))
    return Path(path)


def test_videos_are_done_among_pictures() -> None:
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
    told: list[str] = []
    outcomes = list(upscale_jobs(model(), jobs, context=span_arch.Context(progress=lambda job, *_: told.append(job.source.name))))
    assert states(outcomes) == ["done", "done", "failed", "failed", "done", "done"]
    assert (outcomes[1].frames, outcomes[1].after) == (3, (48, 64))
    assert video.probe(Path("out/film.mkv")).width == 64
    assert video.probe(Path("c.mkv")).frames == 4
    assert list(dict.fromkeys(told)) == ["a.png", "film.nut", "b.png", "c.gif"]


@pytest.mark.parametrize("resume", [False, True])
def test_a_video_goes_on_where_it_was_stopped_if_that_is_asked_for(resume: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av", reason="PyAV is not installed")
    called: list[str] = []

    def way(name: str) -> Any:
        def upscale(*_: Any, **__: Any) -> Any:
            called.append(name)
            raise errors.VideoError(name)

        return upscale

    monkeypatch.setattr(videos, "upscale_video_resumably", way("resumably"))
    monkeypatch.setattr(videos, "upscale_video", way("plainly"))
    run_job(model(), Job(film("film.nut"), Path("film.mkv"), resume=resume))
    assert called == ["resumably" if resume else "plainly"]


def test_what_progress_raises_ends_a_video() -> None:
    pytest.importorskip("av", reason="PyAV is not installed")

    def cancel(*_: object) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        run_job(model(), Job(film("film.nut"), Path("film.mkv")), context=span_arch.Context(progress=cancel))
    assert everything() == {"film.nut"}


# What would become of them


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("orientation", [None, 1, 3, 6])
def test_a_glance_tells_what_reading_gives_without_decoding(mode: str, orientation: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    name = "a.tiff" if mode in ("CMYK", "F") else "a.png"
    if mode in ("I;16", "F"):
        levels = np.random.default_rng(0).uniform(0, 1, (14, 20)).astype(np.float32)
        Image.fromarray(levels if mode == "F" else (levels * 65535).astype(np.uint16)).save(name, exif=exif)
    else:
        draw(name, mode, exif=exif, **({"compression": "tiff_lzw"} if mode == "CMYK" else {}))
    picture = read_image(Path(name))

    def decoded(*_: object) -> None:
        raise AssertionError("pixels are decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", decoded)
    seen = read_header(Path(name))
    assert (1, seen.height, seen.width, seen.channels) == picture.image.shape
    assert (seen.bits, seen.frames) == (picture.info.bits, 1)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_a_glance_counts_frames(name: str) -> None:
    assert read_header(animate(name)).frames == 4


@pytest.mark.parametrize("size", [None, sizes.Longest(33), sizes.Exact(10, 10, "fill")])
def test_what_is_foreseen_comes_true(size: Any) -> None:
    jobs = jobs_for([draw("a.png"), draw("b.png", "RGBA"), animate("c.gif")], settings=Settings(size=size))
    before = everything()
    seen = [foresee(model(), job) for job in jobs]
    whole = estimate(model(), [(job, one) for job, one in zip(jobs, seen, strict=True) if one is not None])
    assert everything() == before
    outcomes = list(upscale_jobs(model(), jobs))
    assert [(one.before, one.after, one.frames) for one in seen if one] == [(done.before, done.after, done.frames) for done in outcomes]
    images = [frame.image for job in jobs for frame in read_images(job.target).frames]
    assert whole.bytes == sum(image.numel() for image in images)
    assert whole.pixels == sum(image[..., 0].numel() for image in images)
    assert 0 < whole.seconds < 60


def test_what_would_fail_or_be_skipped_is_foreseen() -> None:
    source = draw("a.png", "RGBA")
    Path("b.png").touch()
    assert foresee(model(), Job(source, Path("b.png"), existing="skip")) is None
    for job, words in (
        (Job(source, Path("b.png")), "already exists"),
        (Job(source, Path("b.jpg")), "transparency"),
        (Job(Path("none.png"), Path("c.png")), "There is no file"),
        (Job(source, Path("none/c.png")), "there is no folder"),
        (Job(source, Path("c.mp4"), video=span_arch.video.VideoSettings("vp8")), "codec 'vp8' is not known"),
    ):
        with pytest.raises(errors.SpanArchError, match=words):
            foresee(model(), job)
    assert foresee(model(), Job(source, Path("none/c.png"), make_folder=True)) is not None


# Being stopped


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
@pytest.mark.parametrize(("number", "what"), [(signal.SIGINT, "pictures"), (signal.SIGTERM, "a video")])
def test_a_signal_ends_it_cleanly(number: int, what: str) -> None:
    if what == "a video":
        pytest.importorskip("av", reason="PyAV is not installed")
        Path("in").mkdir()
        film("in/a.nut", frames=900)
    else:
        for index in range(200):
            draw(f"in/{index:03}.png", size=(96, 96), seed=index)
    command = [sys.executable, "-m", "span_arch", "in", "out", "--model", "spanx4_ch48"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    heard = {"preexec_fn": lambda: signal.signal(number, signal.SIG_DFL)}  # those who start the tests may have it ignored
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **heard)
    while not (Path("out").is_dir() and list(Path("out").iterdir())):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "stopped; what is done is kept" in told
    assert "Traceback" not in told
    assert all(path.suffix == ".png" and read_header(path).width == 384 for path in Path("out").iterdir())
    assert not list(Path("out").glob(".*"))
