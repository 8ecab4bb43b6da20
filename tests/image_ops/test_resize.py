"""The resize filters equal those of Pillow and torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from span_arch.errors import OptionError
from span_arch.image_ops.choices import FILTERS, Filter, check_filter
from span_arch.image_ops.resize import Resize

PILLOWS = {"lanczos": Image.Resampling.LANCZOS, "bicubic": Image.Resampling.BICUBIC, "area": Image.Resampling.BOX}

pytestmark = pytest.mark.usefixtures("one_thread")


def noise(height: int = 100, width: int = 130) -> Tensor:
    return torch.rand(1, height, width, generator=torch.Generator().manual_seed(0))


def resized(filter: Filter, frame: Tensor, height: int, width: int) -> Tensor:
    result = torch.empty(frame.shape[0], height, width)
    Resize(filter, (frame.shape[1], frame.shape[2]), (height, width), (height, width))(frame, result)
    return result


WHOLE_RATIOS = [(50, 65), (10, 26), (1, 1), (100, 130)]
"""For other ratios, Pillow's box filter counts partly covered pixels as fully covered or not at all."""

SIZES = [*WHOLE_RATIOS, (77, 91), (33, 150), (150, 200), (99, 131)]


@pytest.mark.parametrize(
    ("filter", "size"), [(filter, size) for filter in FILTERS for size in (WHOLE_RATIOS if filter == "area" else SIZES)]
)
def test_filters_equal_pillow(filter: Filter, size: tuple[int, int]) -> None:
    frame = noise()
    expected = np.asarray(Image.fromarray(frame[0].numpy()).resize(size[::-1], PILLOWS[filter])).clip(0, 1)
    torch.testing.assert_close(resized(filter, frame, *size)[0], torch.from_numpy(expected), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(50, 65), (77, 91), (150, 200)])
def test_bicubic_equals_torch(size: tuple[int, int]) -> None:
    expected = F.interpolate(noise()[None], size, mode="bicubic", antialias=True)[0].clamp(0, 1)
    torch.testing.assert_close(resized("bicubic", noise(), *size), expected, atol=2e-5, rtol=0)


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 200), st.integers(1, 30))
def test_area_is_the_mean_over_the_covered_area(height: int, width: int, new_height: int, new_width: int) -> None:
    frame = noise(height, width)
    fine = frame.double().repeat_interleave(new_height, 1).repeat_interleave(new_width, 2)
    expected = fine.reshape(1, new_height, height, new_width, width).mean((2, 4))
    torch.testing.assert_close(resized("area", frame, new_height, new_width), expected.float(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("filter", FILTERS)
def test_smaller_result_is_the_middle_of_the_whole_in_any_type_and_layout(filter: Filter) -> None:
    frame, part = noise(), torch.empty(70, 90, 1, dtype=torch.float16)
    Resize(filter, (100, 130), (150, 171), (70, 90))(frame, part.movedim(-1, 0))
    whole = resized(filter, frame, 150, 171)
    torch.testing.assert_close(part[..., 0].float(), whole[0, 40:110, 40:130], atol=1e-3, rtol=0)


@pytest.mark.parametrize("filter", FILTERS)
def test_flat_images_stay_flat_and_overshoot_is_clamped(filter: Filter) -> None:
    torch.testing.assert_close(resized(filter, torch.full((1, 40, 30), 0.3), 57, 17), torch.full((1, 57, 17), 0.3), atol=1e-6, rtol=0)
    edge = torch.zeros(1, 40, 40)
    edge[:, :, 20:] = 1
    result = resized(filter, edge, 67, 67)
    assert (float(result.min()), float(result.max())) == (0, 1)


def test_unknown_filter_is_an_error() -> None:
    with pytest.raises(OptionError, match=r"The filter is 'nearest'\. Expected lanczos, bicubic or area\."):
        check_filter("nearest")
