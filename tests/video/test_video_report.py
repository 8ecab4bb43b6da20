"""Reports, which are data until somebody reads them."""

from __future__ import annotations

import pytest

from span_arch.video import Note, VideoReport


def test_a_report_is_one_line_of_text() -> None:
    notes = (Note.of("fewer bits", source=12, result=10), Note("no alpha"))
    text = str(VideoReport(7, 2, "libx264", notes))
    assert text.startswith("Written by libx264. 2 frames could not be decoded and were left out")
    assert "The source has 12 bits per sample, and this codec keeps 10 of them. The alpha channel was left out" in text
    assert str(VideoReport(7, 0, "ffv1")) == "Written by ffv1."


@pytest.mark.parametrize("kind", ["interlaced", "not seekable", "no HDR10 metadata", "no cover", "no alpha"])
def test_notes_without_values_are_sentences(kind: str) -> None:
    assert str(Note(kind)).endswith(".")


def test_equal_notes_are_one_in_a_set() -> None:
    assert len({Note.of("no stream", stream=1, codec="aac"), Note.of("no stream", stream=1, codec="aac")}) == 1
