"""Runs that end early for any reason, and continue where they ended."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch

import span_arch
from span_arch import Context, Progress, Settings
from span_arch.errors import OptionError, OutputError, VideoError
from span_arch.models.build import FamilyModel
from span_arch.video import VideoSettings, upscale_video, upscale_video_resumably

from ..faults import Stop, stop_at
from ..samples import small_model
from .films import FFV1, UNEVEN, assert_same, damage, film, make, read
from .test_segments import assert_same_file

pytestmark = pytest.mark.usefixtures("one_thread")


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def begin(source: Path, target: Path, segments: int = 2) -> Path:
    """Start a run, cancel it after a number of segments, and return its folder."""
    folder = target.with_name(f"{target.name}.segments")

    def listen(progress: Progress) -> None:
        if len(list(folder.glob("[0-9]*"))) == segments:
            raise Stop

    with pytest.raises(Stop):
        upscale_video_resumably(small_model(), source, target, video=FFV1, context=Context(progress=listen), segment_frames=6)
    return folder


class Listener:
    """Collects progress events."""

    def __init__(self) -> None:
        self.context, self.events = Context(progress=self.listen), list[Progress]()

    def listen(self, progress: Progress) -> None:
        self.events.append(progress)

    @property
    def frames_reused(self) -> int:
        """The frames that were finished before the run began."""
        return self.events[0].frame


def test_a_cancelled_run_continues_where_it_ended(tmp_path: Path) -> None:
    source, target, listener = film(tmp_path / "a.mp4"), tmp_path / "b.mkv", Listener()
    upscale_video(small_model(), source, tmp_path / "whole.mkv", None, FFV1)
    folder = begin(source, target)
    assert names_in(tmp_path) == {"a.mp4", "whole.mkv", "b.mkv.segments"}
    assert names_in(folder) == {"00000.mkv", "00001.mkv", "manifest.json", "lock", "owner.txt"}
    report, video = upscale_video_resumably(small_model(), source, target, None, FFV1, listener.context)
    assert (report.frames, report.source, report.result) == (20, (32, 48), (64, 96))
    assert (video.frames, video.encoder, video.notes) == (20, "ffv1", ())
    assert listener.frames_reused == 12
    positions = [event.done for event in listener.events]
    assert positions == sorted(positions)
    assert (positions[0], positions[-1]) == (12 / 20, 1)
    assert {event.frames for event in listener.events} == {20}
    assert names_in(tmp_path) == {"a.mp4", "whole.mkv", "b.mkv"}
    assert_same(read(target)[0], read(tmp_path / "whole.mkv")[0])
    with pytest.raises(OutputError, match="already exists"):
        upscale_video_resumably(small_model(), source, target, None, FFV1)


def test_the_manifest_holds_data_and_no_sentences(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mkv", "yuv420p12le", "ffv1", subtitles=True)
    report, video = upscale_video_resumably(small_model(), source, tmp_path / "whole.mp4", segment_frames=6)
    folder, texts = tmp_path / "b.mp4.segments", list[str]()

    def listen(progress: Progress) -> None:
        if progress.frame > 6:
            texts.append((folder / "manifest.json").read_text())
            raise Stop

    with pytest.raises(Stop):
        upscale_video_resumably(small_model(), source, tmp_path / "b.mp4", context=Context(progress=listen), segment_frames=6)
    finished = json.loads(texts[0])["finished"]["0"]
    assert finished["video"]["notes"] == [{"kind": "fewer bits", "values": [["source", 12], ["result", 10]]}]
    assert finished["report"]["recovered"] == {"out_of_memory": 0, "not_finite": 0, "saturated": 0}
    assert ". " not in texts[0]
    again, video_again = upscale_video_resumably(small_model(), source, tmp_path / "b.mp4")
    assert video_again == video
    assert (again.method, again.recovered) == (report.method, report.recovered)


def truncate(folder: Path) -> None:
    (folder / "00001.mkv").write_bytes((folder / "00001.mkv").read_bytes()[:-100])


def flip(folder: Path) -> None:
    content = bytearray((folder / "00001.mkv").read_bytes())
    content[len(content) // 2] ^= 255
    (folder / "00001.mkv").write_bytes(content)


def forget(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def scribble(folder: Path) -> None:
    (folder / "manifest.json").write_bytes((folder / "manifest.json").read_bytes()[:-3])


@pytest.mark.parametrize(
    ("harm", "reused"),
    [(truncate, 6), (flip, 6), (lambda folder: (folder / "00000.mkv").unlink(), 6), (forget, 0), (scribble, 0)],
    ids=["truncated", "flipped", "deleted", "no manifest", "broken manifest"],
)
def test_damaged_segments_are_written_again(tmp_path: Path, harm: Callable[[Path], None], reused: int) -> None:
    source, target, listener = film(tmp_path / "a.mp4"), tmp_path / "b.mkv", Listener()
    upscale_video(small_model(), source, tmp_path / "whole.mkv", None, FFV1)
    harm(begin(source, target))
    upscale_video_resumably(small_model(), source, target, None, FFV1, listener.context, segment_frames=6)
    assert listener.frames_reused == reused
    assert_same(read(target)[0], read(tmp_path / "whole.mkv")[0])
    assert names_in(tmp_path) == {"a.mp4", "whole.mkv", "b.mkv"}


def other_model() -> FamilyModel:
    other = small_model()
    with torch.no_grad():
        next(other.model.parameters()).add_(0.01)
    return other


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "other.mp4"}, r"source size was \d+ and is \d+"),
        ({"model": "other"}, r"model weights was \w+ and is \w+"),
        ({"settings": Settings(ensemble=True)}, r"different run: settings ensemble was False and is True\. Use the same"),
        ({"video": VideoSettings("hevc")}, r"video settings codec was 'ffv1' and is 'hevc'"),
        ({"start": 0.1}, r"window start was 0\.0 and is 0\.1"),
    ],
    ids=["source", "model", "settings", "video", "window"],
)
def test_segments_of_different_runs_are_not_mixed(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    source, target = film(tmp_path / "a.mp4"), tmp_path / "b.mkv"
    folder = begin(source, target)
    before = {path: path.read_bytes() for path in folder.iterdir() if path.name != "owner.txt"}
    film(tmp_path / "other.mp4", times=UNEVEN[:15])
    arguments = {"video": FFV1} | change
    if "source" in change:
        arguments["source"] = tmp_path / change["source"]
    arguments["model"] = other_model() if "model" in change else small_model()
    with pytest.raises(OptionError, match=message) as caught:
        upscale_video_resumably(**{"source": source, "target": target} | arguments)
    assert "delete the folder to start over" in str(caught.value)
    assert {path: path.read_bytes() for path in before} == before
    assert not target.exists()


def test_a_renamed_source_is_the_same_source(tmp_path: Path) -> None:
    source, target, listener = film(tmp_path / "a.mp4"), tmp_path / "b.mkv", Listener()
    begin(source, target)
    upscale_video_resumably(small_model(), source.rename(tmp_path / "moved.mp4"), target, None, FFV1, listener.context)
    assert listener.frames_reused == 12


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    source, target = film(tmp_path / "a.mp4"), tmp_path / "b.mkv"
    messages: list[str] = []

    def listen(progress: Progress) -> None:
        if not messages:
            with pytest.raises(OutputError) as caught:
                upscale_video_resumably(small_model(), source, target, None, FFV1)
            messages.append(str(caught.value))

    upscale_video_resumably(small_model(), source, target, None, FFV1, Context(progress=listen))
    assert f"b.mkv.segments is in use by process {os.getpid()} on " in messages[0]
    assert "Wait until it ends" in messages[0]
    assert names_in(tmp_path) == {"a.mp4", "b.mkv"}


def test_files_of_others_in_the_folder_stay(tmp_path: Path) -> None:
    source, target = film(tmp_path / "a.mp4"), tmp_path / "b.mkv"
    folder = begin(source, target)
    (folder / "notes.txt").write_text("mine")
    upscale_video_resumably(small_model(), source, target, None, FFV1)
    assert names_in(folder) == {"notes.txt", "lock", "owner.txt"}


def test_a_full_disk_keeps_the_finished_segments(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="only Unix limits the size of files")
    source, target = film(tmp_path / "a.mp4"), tmp_path / "b.mkv"
    folder = begin(source, target)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(
            OutputError, match=r"cannot be written: File too large\. 2 of 4 segments are finished, in .*b\.mkv\.segments\. Repeat the call"
        ):
            upscale_video_resumably(small_model(), source, target, None, FFV1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names_in(folder) == {"00000.mkv", "00001.mkv", "manifest.json", "lock", "owner.txt"}
    assert upscale_video_resumably(small_model(), source, target, None, FFV1)[1].frames == 20


@pytest.mark.parametrize("at", [1, 2, 30])
def test_a_run_cancelled_in_its_first_segment_leaves_only_the_plan(tmp_path: Path, at: int) -> None:
    source, target = film(tmp_path / "a.mp4"), tmp_path / "b.mkv"
    with pytest.raises(Stop):
        upscale_video_resumably(small_model(), source, target, Settings(tile=8), FFV1, Context(progress=stop_at(at)))
    assert names_in(tmp_path / "b.mkv.segments") == {"manifest.json", "lock", "owner.txt"}


def test_sources_that_are_not_videos_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video\n" * 1000)
    for source, message in {"text.mp4": "cannot be read as a video", "missing.mp4": "does not exist"}.items():
        with pytest.raises(VideoError, match=message):
            upscale_video_resumably(small_model(), tmp_path / source, tmp_path / "b.mkv", None, FFV1)
    with pytest.raises(OptionError, match="number of frames in a segment is 0"):
        upscale_video_resumably(small_model(), film(tmp_path / "a.mp4"), tmp_path / "b.mkv", None, FFV1, segment_frames=0)
    make(tmp_path / "broken.mov", "rgb24", codec="png")
    damage(tmp_path / "broken.mov", set(range(5)))
    with pytest.raises(VideoError, match="has no frame that can be decoded"):
        upscale_video_resumably(small_model(), tmp_path / "broken.mov", tmp_path / "b.mkv", None, FFV1)
    assert names_in(tmp_path) == {"a.mp4", "text.mp4", "broken.mov"}


def test_broken_frames_are_left_out_and_counted(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mov", "rgb24", "png", times=list(range(12)), time_base=Fraction(1, 25))
    damage(source, {1, 4, 5, 6, 7, 9})
    _, whole = upscale_video(small_model(), source, tmp_path / "whole.mkv", None, FFV1)
    _, report = upscale_video_resumably(small_model(), source, tmp_path / "joined.mkv", None, FFV1, segment_frames=4)
    assert (report.frames, report.broken) == (6, 6)
    assert report == whole
    assert_same(read(tmp_path / "joined.mkv")[0], read(tmp_path / "whole.mkv")[0])
    assert read(tmp_path / "joined.mkv")[1] == read(tmp_path / "whole.mkv")[1]


# Kills

KILLS = int(os.environ.get("SPAN_TEST_KILLS", "3"))
"""The number of moments to kill a run at, for each container."""


def run_in_process(folder: Path, target: str) -> None:
    torch.set_num_threads(1)
    network, video = span_arch.load(folder / "model.safetensors"), VideoSettings("ffv1" if target.endswith(".mkv") else "h264")
    upscale_video_resumably(network, folder / "a.mp4", folder / target, None, video, segment_frames=8, overwrite=True)


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_a_run_killed_at_any_moment_gives_the_same_file_in_the_end(tmp_path: Path, suffix: str) -> None:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        pytest.skip("processes take seconds to start where they cannot be forked")
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    film(tmp_path / "a.mp4", times=[3600 * index + 7 * (index % 3) for index in range(60)])
    span_arch.save(small_model(), tmp_path / "model.safetensors")

    def run(target: str) -> Any:
        process = processes.Process(target=run_in_process, args=(tmp_path, target))
        process.start()
        return process

    first = run(f"whole{suffix}")
    began = time.monotonic()
    first.join()
    duration, kills, moments = time.monotonic() - began, 0, random.Random(suffix)
    expected = read(tmp_path / f"whole{suffix}")
    while kills < KILLS:
        process = run(f"b{suffix}")
        process.join(moments.uniform(0.02, duration))
        process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:  # else it had finished
            kills += 1
            if kills % 2:  # kill every other run twice
                continue
        process = run(f"b{suffix}")
        process.join()
        assert process.exitcode == 0
        frames, times = read(tmp_path / f"b{suffix}")
        assert_same(frames, expected[0])
        assert times == expected[1]
        assert_same_file(tmp_path / f"b{suffix}", tmp_path / f"whole{suffix}")
        assert names_in(tmp_path) == {"a.mp4", "model.safetensors", f"whole{suffix}", f"b{suffix}"}
