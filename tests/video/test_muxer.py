"""Streams, metadata and chapters that are copied unchanged."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from span_arch.video import Note, VideoSettings, copy_video, probe

from .films import HEIGHT, WIDTH, av, doubled, make, packets

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_other_streams_and_metadata_stay(tmp_path: Path, suffix: str) -> None:
    make(tmp_path / "a.mkv", audio=True, subtitles=suffix == ".mkv", metadata={"title": "a title", "prompt": "{}"})
    report = copy_video(tmp_path / "a.mkv", tmp_path / f"b{suffix}", doubled)
    info = probe(tmp_path / f"b{suffix}")
    assert report.notes == ()
    assert [(one.codec, one.channels, one.sample_rate) for one in info.audio] == [("aac", 1, 48000)]
    before, after = packets(tmp_path / "a.mkv", "audio"), packets(tmp_path / f"b{suffix}", "audio")
    assert [content for _, content in after] == [content for _, content in before]
    assert all(abs(new - old) < Fraction(1, 1000) for (new, _), (old, _) in zip(after, before, strict=True))
    if suffix == ".mkv":
        assert info.subtitles == ("subrip",)
        assert packets(tmp_path / "b.mkv", "subtitle") == [(0, b"line 0"), (1, b"line 1")]
    with av.open(str(tmp_path / f"b{suffix}")) as container:
        metadata = {key.lower(): text for key, text in container.metadata.items()}
    assert (metadata["title"], metadata["prompt"]) == ("a title", "{}")


def test_streams_that_the_container_cannot_hold_are_noted(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", audio=True, subtitles=True, size=(64, 64))
    report = copy_video(tmp_path / "a.mkv", tmp_path / "b.webm", settings=VideoSettings(codec="av1"))
    assert report.notes == (
        Note.of("no stream", stream=1, type="audio", codec="aac", suffix=".webm"),
        Note.of("no stream", stream=2, type="subtitle", codec="subrip", suffix=".webm"),
    )
    assert "Stream 2 (subtitle, subrip) was left out because .webm files cannot hold it" in str(report)
    assert (probe(tmp_path / "b.webm").audio, probe(tmp_path / "b.webm").subtitles) == ((), ())


def test_a_cover_image_is_left_out_and_not_taken_for_the_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        cover, video = container.add_stream("mjpeg", rate=1), container.add_stream("libx264", rate=25)
        cover.width, cover.height, cover.pix_fmt, cover.disposition = 16, 16, "yuvj420p", av.stream.Disposition.attached_pic.value
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for stream, frame in ((cover, av.VideoFrame(16, 16, "yuvj420p")), (video, av.VideoFrame(WIDTH, HEIGHT, "yuv420p"))):
            frame.pts = 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert len(container.streams.video) == 2
    report = copy_video(tmp_path / "a.mp4", tmp_path / "b.mkv")
    assert (report.frames, report.notes) == (1, (Note("no cover"),))
    assert probe(tmp_path / "b.mkv").width == WIDTH


@pytest.mark.skipif(not hasattr(av.container.OutputContainer, "set_chapters"), reason="this PyAV does not support chapters")
def test_chapters_and_attachments_stay(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        container.add_attachment("font.ttf", "font/ttf", b"letters")
        base = Fraction(1, 1000)
        container.set_chapters(
            [
                {"id": 1, "start": 0, "end": 400, "time_base": base, "metadata": {"title": "one"}},
                {"id": 2, "start": 400, "end": 1000, "time_base": base, "metadata": {"title": "two"}},
            ]
        )
        for index in range(25):
            frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv")
    copy_video(tmp_path / "a.mkv", tmp_path / "c.mkv", start=0.2, duration=0.4)
    assert probe(tmp_path / "b.mkv").attachments == 1

    def chapters(path: Path) -> list[tuple[str, Fraction, Fraction]]:
        with av.open(str(path)) as container:
            return [
                (one["metadata"]["title"], one["start"] * one["time_base"], one["end"] * one["time_base"]) for one in container.chapters()
            ]

    assert chapters(tmp_path / "b.mkv") == [("one", 0, Fraction(2, 5)), ("two", Fraction(2, 5), 1)]
    assert chapters(tmp_path / "c.mkv") == [("one", 0, Fraction(1, 5)), ("two", Fraction(1, 5), Fraction(2, 5))]
