"""The choice of encoders, and of their settings."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from span_arch.errors import OptionError, VideoError
from span_arch.video import Note, VideoSettings, copy_video, probe
from span_arch.video.codecs import CODECS, Encoder
from span_arch.video.colour import Colour
from span_arch.video.encoding import Encoding, choose_encoding
from span_arch.video.reader import FrameFormat

from .films import assert_same, layout_named, make, read

pytestmark = pytest.mark.usefixtures("one_thread")

SOURCE = FrameFormat(layout_named("yuv420p"), Colour(6, False), (96, 64), 0, Fraction(1), Fraction(1, 25), Fraction(25))
AUTO = VideoSettings(codec="auto")


def test_an_encoder_in_hardware_is_used_only_if_it_opens() -> None:
    """Any encoder stands in for one in hardware."""
    missing, present, software = Encoder("no_such_encoder"), Encoder("mpeg4"), CODECS["h264"]
    path = Path("a.mp4")
    assert choose_encoding(path, AUTO, SOURCE, (96, 64), candidates=(missing, present, software)).encoder == "mpeg4"
    rejecting = Encoder("mpeg4", {"dct": "no such method"})
    assert choose_encoding(path, AUTO, SOURCE, (96, 64), candidates=(rejecting, software)).encoder == "libx264"
    assert choose_encoding(path, AUTO, SOURCE, (96, 64)).encoder in ("libx264", "h264_nvenc", "h264_videotoolbox", "h264_qsv")


def test_no_encoder_is_tried_after_one_that_is_available() -> None:
    def reject(encoding: Encoding) -> bool:
        if encoding.encoder != "mpeg4":
            pytest.fail(f"{encoding.encoder} was tried")
        return True

    candidates = (Encoder("mpeg4"), Encoder("mpeg2video"), CODECS["h264"])
    assert choose_encoding(Path("a.mp4"), AUTO, SOURCE, (96, 64), candidates=candidates, is_available=reject).encoder == "mpeg4"


def test_the_last_encoder_is_used_untried() -> None:
    encoding = choose_encoding(Path("a.mp4"), AUTO, SOURCE, (96, 64), is_available=lambda encoding: False)
    assert encoding.encoder == "libx264"


def test_a_users_quality_and_preset_apply_to_software_only() -> None:
    settings = replace(AUTO, quality=30, preset="slow")
    nvenc = replace(CODECS["h264_nvenc"], name="libx264")  # as offered by any PyAV
    hardware = choose_encoding(Path("a.mp4"), settings, SOURCE, (96, 64), candidates=(nvenc,))
    software = choose_encoding(Path("a.mp4"), settings, SOURCE, (96, 64), candidates=(CODECS["h264"],))
    assert dict(hardware.options) == {"rc": "vbr", "b": "0", "cq": "19"}
    assert dict(software.options) == {"crf": "30", "preset": "slow"}


@pytest.mark.parametrize("codec", ["ffv1", "h264", "hevc", "vp9", "av1"])
def test_odd_sizes_are_padded_only_where_the_codec_needs_it(tmp_path: Path, codec: str) -> None:
    expected = make(tmp_path / "a.mkv", size=(67, 65))
    report = copy_video(tmp_path / "a.mkv", tmp_path / "b.mkv", settings=VideoSettings(codec=codec))
    info = probe(tmp_path / "b.mkv")
    if codec in ("ffv1", "vp9"):
        assert (info.width, info.height, report.notes) == (67, 65, ())
    else:
        assert (info.width, info.height) == (68, 66)
        padded = Note.of("padded", source="67x65", result="68x66", pixel_format="yuv420p")
        assert padded in report.notes
        assert "from 67x65 to 68x66 pixels" in str(report)
    if codec == "ffv1":
        assert_same(read(tmp_path / "b.mkv")[0], expected)


def test_a_missing_pixel_format_is_replaced_by_the_closest(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", "yuva444p10le", size=(64, 64))
    report = copy_video(tmp_path / "a.mkv", tmp_path / "b.webm", settings=VideoSettings(codec="av1"))
    assert probe(tmp_path / "b.webm").pixel_format == "yuv420p10le"
    assert Note("no alpha") in report.notes
    report = copy_video(tmp_path / "a.mkv", tmp_path / "b.mov", settings=VideoSettings(codec="prores"))
    assert probe(tmp_path / "b.mov").alpha
    assert report.notes == ()


def test_a_chosen_pixel_format_is_used(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", "yuva444p10le", size=(64, 64))
    copy_video(tmp_path / "a.mkv", tmp_path / "b.mp4", settings=VideoSettings(pixel_format="yuv420p"))
    assert probe(tmp_path / "b.mp4").pixel_format == "yuv420p"


def test_a_smaller_bit_depth_is_noted_unless_it_was_chosen(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", "yuv420p12le")
    report = copy_video(tmp_path / "a.mkv", tmp_path / "b.mp4")
    assert report.notes == (Note.of("fewer bits", source=12, result=10),)
    report = copy_video(tmp_path / "a.mkv", tmp_path / "c.mp4", settings=VideoSettings(pixel_format="yuv420p10le"))
    assert report.notes == ()


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("b.avi", VideoSettings(), r"suffix of b\.avi is not that of a video that can be written. Expected \.mp4, .*\.mkv or \.webm"),
        ("b.mp4", VideoSettings(codec="mpeg9"), "codec mpeg9 is unknown. Expected auto, h264, "),
        ("b.webm", VideoSettings(), r"\.webm files cannot hold h264, only av1 or vp9. Use \.mp4, .* for h264"),
        ("b.mp4", VideoSettings(codec="ffv1"), r"Use \.mkv for ffv1"),
        ("b.mp4", VideoSettings(quality=52), "quality is 52. Expected 0 to 51"),
        ("b.mkv", VideoSettings(codec="ffv1", quality=5), "quality 5 cannot be used because ffv1 has no quality"),
        ("b.mkv", VideoSettings(codec="ffv1", preset="slow"), "preset slow cannot be used because ffv1 has no presets"),
        (
            "b.mp4",
            VideoSettings(pixel_format="yuv420p99"),
            "The encoder libx264 does not offer the pixel format yuv420p99. Expected one of gray",
        ),
    ],
)
def test_contradictory_settings_are_reported_and_leave_no_file(tmp_path: Path, name: str, settings: VideoSettings, message: str) -> None:
    make(tmp_path / "a.mkv")
    with pytest.raises(OptionError, match=message):
        copy_video(tmp_path / "a.mkv", tmp_path / name, settings=settings)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


def test_an_unknown_preset_is_reported_and_leaves_no_file(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv")
    with pytest.raises(VideoError, match="libx264 rejects frames of 48x32 pixels in yuv420p"):
        copy_video(tmp_path / "a.mkv", tmp_path / "b.mp4", settings=VideoSettings(preset="quickest"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


def test_x265_does_not_receive_frames_that_crash_it(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv")
    with pytest.raises(VideoError, match="size 48x32 is too small for libx265, which needs sides of 64 pixels"):
        copy_video(tmp_path / "a.mkv", tmp_path / "b.mp4", settings=VideoSettings(codec="hevc"))


def test_an_encoder_that_this_pyav_lacks_is_reported() -> None:
    with pytest.raises(VideoError, match="encoder no_such_encoder is missing from this PyAV"):
        choose_encoding(Path("a.mp4"), VideoSettings(), SOURCE, (96, 64), candidates=(Encoder("no_such_encoder"),))
