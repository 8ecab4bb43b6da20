"""Colours outside of RGB, which go around the network."""

from __future__ import annotations

import pytest
import torch

from span_arch.image_ops import sizes
from span_arch.image_ops.resize import Resize
from span_arch.video.headroom import Headroom


@pytest.mark.parametrize("size", [None, sizes.Factor(4), sizes.Factor(1.5), sizes.Exact(40, 40, "fill")], ids=str)
def test_the_excess_over_rgb_returns_where_it_was(size: sizes.Size | None) -> None:
    frame = torch.full((16, 20, 3), 0.5)
    frame[4:8, 5:10], frame[8:12, 5:10, 2], frame[0, 0] = 1.09, -0.8, 2.1
    headroom = Headroom(size, 2)
    inside = torch.stack(list(headroom.remove(iter([frame, frame.clamp(0, 1)]))))
    assert torch.equal(inside, frame.clamp(0, 1).expand_as(inside))
    plan = sizes.route(size, 16, 20, 2)
    results = list(headroom.restore(iter([torch.ones(*plan.size, 3), torch.ones(*plan.size, 3)])))
    assert torch.equal(results[1], torch.ones_like(results[1]))
    resize = Resize("area", (16, 20), plan.whole, plan.size)
    over, under = torch.empty(3, *plan.size), torch.empty(3, *plan.size)
    resize(torch.relu(frame - 1).movedim(-1, 0) / 4, over)
    resize(torch.relu(-frame).movedim(-1, 0) / 4, under)
    torch.testing.assert_close(results[0], 1 + 4 * (over - under).movedim(0, -1), atol=1e-6, rtol=0)
