"""Seamless textures stay seamless."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from spandrel import ImageModelDescriptor
from torch import nn

import span_arch
from span_arch import FamilyModel, Settings
from span_arch.archs.spanf3 import SPANF3
from span_arch.engine.seamless import margins

from ..samples import random_image, small_model

pytestmark = pytest.mark.usefixtures("one_thread")


def model_on_a_coarse_grid() -> FamilyModel:
    torch.manual_seed(0)
    return span_arch.from_state_dict(SPANF3(feature_channels=8, blocks=2, scale=2, unshuffle=2).state_dict())


@pytest.mark.parametrize(("seamless", "times"), [("x", (1, 3)), ("y", (3, 1)), ("xy", (3, 3))])
@pytest.mark.parametrize("make_model", [small_model, model_on_a_coarse_grid])
@pytest.mark.parametrize("size", [(20, 28), (2, 4)], ids=["large", "smaller than the receptive field"])
@pytest.mark.parametrize("channels", [3, 4])
def test_texture_comes_out_as_in_the_middle_of_a_wall(
    seamless: Any, times: tuple[int, int], make_model: Callable[[], FamilyModel], size: tuple[int, int], channels: int
) -> None:
    model, (height, width), (down, across) = make_model(), size, times
    texture = random_image(*size, channels)
    texture[..., 3:] *= texture[..., 3:] > 0.5  # transparent in places
    around = 9 if height < 20 else 1  # repetitions on every side of the texture
    down, across = (1 + around * (count - 1) for count in (down, across))
    wall = span_arch.upscale(model, texture.repeat(1, down, across, 1), Settings(precision="float32"))
    top, left = (down - 1) * height, (across - 1) * width  # half of the surroundings, at twice the size
    expected = wall[:, top : top + 2 * height, left : left + 2 * width]
    result = span_arch.upscale(model, texture, Settings(seamless=seamless, precision="float32"))
    visible = (expected[..., 3:] > 1 / 255) if channels == 4 else torch.ones_like(expected[..., :1])
    torch.testing.assert_close(result * visible, expected * visible, atol=1e-4, rtol=0)


def test_margin_is_the_receptive_field_even_if_the_network_cannot_be_streamed() -> None:
    model = small_model()
    model.model.train()
    assert margins(model, "xy") == (9, 9)
    assert margins(model, "y") == (9, 0)


def test_margin_is_generous_if_the_receptive_field_is_unknown() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.AdaptiveAvgPool2d(8))
    model = ImageModelDescriptor(network, network.state_dict(), small_model().architecture, "SR", [], False, False, 1, 3, 3)
    assert margins(model, "x") == (0, 64)
