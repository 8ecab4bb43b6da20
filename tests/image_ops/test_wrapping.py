"""Images are continued by their own repetition."""

from __future__ import annotations

import pytest
import torch

from span_arch import Settings, errors
from span_arch.image_ops.wrapping import crop, wrap


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (1, 0), (0, 2), (7, 9)])
def test_wrapped_image_repeats_and_is_cropped_to_the_original(rows: int, columns: int) -> None:
    image = torch.rand(3, 2, 5)
    wrapped = wrap(image, rows, columns)
    assert wrapped.shape == (3, 2 + 2 * rows, 5 + 2 * columns)
    for y, x in ((0, 0), (-1, -1), (rows, columns), (0, -1)):
        row, column = range(wrapped.shape[1])[y], range(wrapped.shape[2])[x]
        assert torch.equal(wrapped[:, y, x], image[:, (row - rows) % 2, (column - columns) % 5])
    assert torch.equal(crop(wrapped, rows, columns), image)


@pytest.mark.parametrize("seamless", ["z", "yx", "off", None])
def test_unknown_axes_are_an_error(seamless: str) -> None:
    with pytest.raises(errors.OptionError, match=r"The seamless axes are .*\. Expected 'x', 'y' or 'xy'"):
        Settings(seamless=seamless)
