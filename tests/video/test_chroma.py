"""Conversion of chroma between its own resolution and that of luma."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from span_arch.video.chroma import double_columns, double_rows, halve_columns, halve_rows


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 9))
def test_halving_undoes_doubling(length: int, other: int, seed: int) -> None:
    plane = torch.rand(other, -(-length // 2), generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(halve_columns(double_columns(plane, length)), plane)
    torch.testing.assert_close(halve_rows(double_rows(plane.T, length)), plane.T)


def test_detail_beyond_half_the_resolution_becomes_its_mean() -> None:
    stripes = torch.tensor([[1.0, 0.0]]).repeat(4, 5)
    torch.testing.assert_close(halve_columns(stripes), torch.full((4, 5), 0.5))
    torch.testing.assert_close(halve_rows(stripes.T)[1:-1], torch.full((3, 4), 0.5))


def test_chroma_lies_on_left_columns_and_between_rows() -> None:
    ramp = torch.arange(8.0)[None]
    torch.testing.assert_close(double_columns(2 * ramp, 16)[:, :15], torch.arange(15.0)[None])
    torch.testing.assert_close(double_rows(2 * ramp.T + 0.5, 16)[1:15], torch.arange(1.0, 15.0)[:, None])
