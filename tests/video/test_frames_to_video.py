"""Temporary files made of frames and audio."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import Tensor

from span_arch.video import compose, copy_video, probe

from .films import FFV1, collecting

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(30000, 1001), Fraction(25, 2)])
@pytest.mark.parametrize(("channels", "audio"), [(1, None), (3, 1), (4, 6), (3, 5)])
def test_frames_are_stored_losslessly_with_audio_of_their_length(tmp_path: Path, rate: Fraction, channels: int, audio: int | None) -> None:
    frames = torch.rand(5, 18, 34, channels)
    compose(tmp_path / "a.nut", frames, rate, None if audio is None else torch.rand(audio, 500_000) - 0.5, 48_000)
    images: list[Tensor] = []
    copy_video(tmp_path / "a.nut", tmp_path / "b.mkv", collecting(images), FFV1)
    torch.testing.assert_close(torch.stack(images), frames[..., :3].expand(5, 18, 34, 3), atol=1 / 65535, rtol=0)
    info = probe(tmp_path / "a.nut")
    assert info.fps == rate
    assert [track.channels for track in info.audio] == ([] if audio is None else [audio if audio in (1, 6) else 1])
    assert info.duration == pytest.approx(5 / float(rate), abs=0.1)
