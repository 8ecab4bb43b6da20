"""Sources: files on disk and in memory, and files that are not videos."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from span_arch.errors import VideoError
from span_arch.video import copy_video, probe

from .films import FFV1, FRAMES, HEIGHT, WIDTH, assert_same, av, make, read, write_tone

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_file_in_memory_is_read_from_its_start_each_time(tmp_path: Path) -> None:
    memory = io.BytesIO()
    expected = make(memory, form="matroska")
    assert probe(memory).frames == FRAMES
    for _ in range(2):
        copy_video(memory, tmp_path / "b.mkv", settings=FFV1, overwrite=True)
        assert_same(read(tmp_path / "b.mkv")[0], expected)


def test_probe_describes_a_video(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", "yuv420p10le", audio=True, subtitles=True, times=list(range(50)))
    info = probe(tmp_path / "a.mkv")
    assert (info.width, info.height, info.fps, info.codec) == (WIDTH, HEIGHT, 25, "ffv1")
    assert (info.pixel_format, info.depth, info.alpha) == ("yuv420p10le", 10, False)
    assert abs(info.frames - 50) <= 1
    assert abs(info.duration - 2) < 0.05
    assert (len(info.audio), info.subtitles, info.rotation) == (1, ("subrip",), 0)


def test_a_song_with_a_cover_image_is_not_a_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        cover, track = container.add_stream("mjpeg", rate=1), container.add_stream("aac", rate=48000, layout="mono")
        cover.width, cover.height, cover.pix_fmt, cover.disposition = 16, 16, "yuvj420p", av.stream.Disposition.attached_pic.value
        image = av.VideoFrame(16, 16, "yuvj420p")
        image.pts = 0
        container.mux(cover.encode(image))
        container.mux(cover.encode(None))
        write_tone(container, track)
    with pytest.raises(VideoError, match=r"has no video stream \(its streams: audio, video\)"):
        probe(tmp_path / "a.mp4")


def test_sources_that_are_not_videos_are_reported(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video\n" * 1000)
    (tmp_path / "empty.mkv").touch()
    with av.open(str(tmp_path / "audio.mkv"), "w") as container:
        write_tone(container, container.add_stream("aac", rate=48000, layout="mono"))
    make(tmp_path / "broken.mp4", codec="libx264")
    content = (tmp_path / "broken.mp4").read_bytes()
    (tmp_path / "broken.mp4").write_bytes(content[: len(content) // 2])
    for name, message in {
        "missing.mp4": "does not exist",
        "text.mp4": "cannot be read as a video",
        "empty.mkv": "cannot be read as a video",
        "broken.mp4": "its end is missing",
        "audio.mkv": r"has no video stream \(its streams: audio\)",
    }.items():
        with pytest.raises(VideoError, match=message):
            probe(tmp_path / name)
        with pytest.raises(VideoError, match=message):
            copy_video(tmp_path / name, tmp_path / "b.mp4")
    assert not (tmp_path / "b.mp4").exists()


def test_a_missing_pyav_is_reported_with_the_command_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "av.py").write_text("raise ImportError")  # shadows the real one
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    code = "from span_arch.video import probe; probe('a.mkv')"
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}, cwd=tmp_path, capture_output=True, text=True
    )
    assert "MissingExtraError: The package av is not installed." in run.stderr
    assert "pip install av" in run.stderr
