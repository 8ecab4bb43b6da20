"""Transparency, textures without seams, and the self-ensemble."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import span_arch
from span_arch import errors
from span_arch.archs.span import SPAN
from span_arch.archs.spanf3 import SPANF3
from span_arch.cli.evaluation import evaluate, mean
from span_arch.engine.seamless import margins
from span_arch.image_ops import sizes, transparency
from span_arch.models.build import FamilyModel

pytestmark = pytest.mark.usefixtures("one_thread")


def model(channels: int = 3, scale: int = 2) -> FamilyModel:
    torch.manual_seed(0)
    network = SPAN(in_channels=channels, out_channels=channels, feature_channels=8, blocks=2, scale=scale, normalisation=None)
    return span_arch.from_state_dict(network.state_dict())


def on_a_coarse_grid() -> FamilyModel:
    torch.manual_seed(0)
    return span_arch.from_state_dict(SPANF3(feature_channels=8, blocks=2, scale=2, unshuffle=2).state_dict())


def image(height: int = 20, width: int = 28, channels: int = 3, frames: int = 1) -> Tensor:
    torch.manual_seed(1)
    return torch.rand(frames, height, width, channels)


def disc() -> Tensor:
    """(1, 40, 40, 4): white, with a soft edge, on transparent black."""
    across = torch.arange(40.0) - 19.5
    alpha = (12.5 - torch.hypot(across[:, None], across)).clamp(0, 1)
    return torch.stack([(alpha > 0).float()] * 3 + [alpha], -1)[None]


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("alpha", ["resize", "model", (0.2, 0.5, 1.0)])
def test_an_opaque_image_is_the_image_without_alpha_bit_by_bit(monkeypatch: pytest.MonkeyPatch, channels: int, alpha: object) -> None:
    monkeypatch.setattr(transparency, "bleed", lambda *_: pytest.fail("nothing is to be bled"))
    network, picture, told = model(channels), image(frames=2), [(0, 0)]
    opaque = torch.cat([picture, torch.ones(2, 20, 28, 1)], -1)
    result = span_arch.upscale(
        network, opaque, span_arch.Settings(alpha=alpha), span_arch.Context(progress=lambda *progress: told.append(progress))
    )
    assert torch.equal(result[..., :3], span_arch.upscale(network, picture))
    assert result.shape[-1] == (4 if isinstance(alpha, str) else 3)
    assert bool((result[..., 3:] == 1).all())
    assert told[-1] == (2 * 20 * 28, 2 * 20 * 28)


@pytest.mark.parametrize("alpha", ["resize", "model"])
@pytest.mark.parametrize("name", ["spanx2_ch48", "spanx4_ch48"])
def test_a_white_shape_on_transparent_black_has_no_dark_fringe(name: str, alpha: str) -> None:
    result = span_arch.upscale(span_arch.load(name), disc(), span_arch.Settings(alpha=alpha, precision="float32"))[0]
    assert result[..., :3][result[..., 3] > 1 / 255].min() > 0.98
    assert result[0, 0, 3] < 0.02


def test_visible_colours_and_alpha_stay_and_hidden_ones_come_from_beside() -> None:
    frame = image(100, 100, 4)[0].movedim(-1, 0)
    frame[3] = 0
    frame[3, 45:55, 45:55] = 0.3
    frame[0, :, :50], frame[0, :, 50:] = 0.25, 0.75
    bled = transparency.bleed(frame)
    assert torch.equal(bled[3], frame[3])
    assert torch.equal(bled[:, 45:55, 45:55], frame[:, 45:55, 45:55])
    assert float(bled[0, 50, 44]) == pytest.approx(0.25, abs=1e-6)
    assert float(bled[0, 50, 55]) == pytest.approx(0.75, abs=1e-6)
    assert float(bled[0, 0, 0]) == pytest.approx(0.5, abs=1e-5)  # far away, the mean
    nothing = frame * 0
    assert torch.equal(transparency.bleed(nothing), nothing)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_model_can_upscale_alpha_as_it_upscales_grey(channels: int) -> None:
    picture = image(channels=4)
    result = span_arch.upscale(model(channels), picture, span_arch.Settings(alpha="model"))
    torch.testing.assert_close(result[..., 3:], span_arch.upscale(model(channels), picture[..., 3:]), atol=1e-5, rtol=0)
    assert not torch.allclose(result[..., 3:], span_arch.upscale(model(channels), picture)[..., 3:], atol=1e-3)


def test_over_a_colour_is_composing_first() -> None:
    picture = image(channels=4)
    composed = picture[..., :3] * picture[..., 3:] + torch.tensor([1.0, 0.5, 0.0]) * (1 - picture[..., 3:])
    result = span_arch.upscale(model(), picture, span_arch.Settings(alpha=(1.0, 0.5, 0.0)))
    torch.testing.assert_close(result, span_arch.upscale(model(), composed), atol=1e-6, rtol=0)


def test_images_without_alpha_care_for_none() -> None:
    assert torch.equal(span_arch.upscale(model(), image(), span_arch.Settings(alpha=(1.0, 0.5, 0.0))), span_arch.upscale(model(), image()))


@pytest.mark.parametrize(("seamless", "times"), [("x", (1, 3)), ("y", (3, 1)), ("xy", (3, 3))])
@pytest.mark.parametrize("network", [model, on_a_coarse_grid])
@pytest.mark.parametrize("size", [(20, 28), (2, 4)])  # the latter smaller than what the network sees
@pytest.mark.parametrize("channels", [3, 4])
def test_a_texture_comes_out_as_in_the_midst_of_many(
    seamless: str, times: tuple[int, int], network: Callable[[], FamilyModel], size: tuple[int, int], channels: int
) -> None:
    (height, width), (down, across) = size, times
    texture = image(*size, channels)
    texture[..., 3:] *= texture[..., 3:] > 0.5  # transparent in places
    around = 9 if height < 20 else 1  # so many of them to any side
    down, across = (1 + around * (count - 1) for count in (down, across))
    wall = span_arch.upscale(network(), texture.repeat(1, down, across, 1), span_arch.Settings(precision="float32"))
    top, left = (down - 1) * height, (across - 1) * width  # half of what is around, twice as large
    expected = wall[:, top : top + 2 * height, left : left + 2 * width]
    result = span_arch.upscale(network(), texture, span_arch.Settings(seamless=seamless, precision="float32"))
    visible = (expected[..., 3:] > 1 / 255) if channels == 4 else torch.ones_like(expected[..., :1])
    torch.testing.assert_close(result * visible, expected * visible, atol=1e-4, rtol=0)


def test_the_margin_is_what_a_network_sees_and_generous_where_that_is_unknown() -> None:
    network = model()
    network.model.train()  # not streamable then, but how far it sees is known
    assert margins(network, "xy") == (9, 9)
    network._model = nn.Sequential(network.model, nn.AdaptiveAvgPool2d(8))
    assert margins(network, "x") == (0, 64)


def turned(picture: Tensor, how: int) -> Tensor:
    """One of the eight orientations of (B, H, W, C)."""
    picture = picture.transpose(1, 2) if how & 4 else picture
    return picture.flip([axis for axis, bit in ((1, 1), (2, 2)) if how & bit])


def turned_back(picture: Tensor, how: int) -> Tensor:
    picture = picture.flip([axis for axis, bit in ((1, 1), (2, 2)) if how & bit])
    return picture.transpose(1, 2) if how & 4 else picture


@pytest.mark.parametrize("settings", [{}, {"tile": 8}, {"seamless": "x"}])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_ensemble_is_the_mean_of_eight_orientations(channels: int, settings: dict[str, object]) -> None:
    network, picture = model(), image(channels=channels)
    across = {"seamless": "y"} if "seamless" in settings else settings
    single = [
        turned_back(
            span_arch.upscale(network, turned(picture, how), span_arch.Settings(precision="float32"), **(across if how & 4 else settings)),
            how,
        )
        for how in range(8)
    ]
    result = span_arch.upscale(network, picture, span_arch.Settings(ensemble=True, precision="float32"), **settings)
    torch.testing.assert_close(result, torch.stack(single).mean(0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("how", range(1, 8))
def test_with_the_ensemble_it_does_not_matter_how_an_image_is_turned(how: int) -> None:
    network, picture = model(), image(frames=2)
    result = span_arch.upscale(network, picture, span_arch.Settings(ensemble=True, precision="float32"))
    again = span_arch.upscale(network, turned(picture, how), span_arch.Settings(ensemble=True, precision="float32"))
    torch.testing.assert_close(turned_back(again, how), result, atol=1e-5, rtol=0)


def test_the_ensemble_gains_on_set5(data: Path) -> None:
    network = span_arch.load("spanx4_ch48")
    plain, eight = (mean(list(evaluate(network, data / "Set5/x4", ensemble=ensemble))).psnr for ensemble in (False, True))
    assert eight - plain >= 0.05


@pytest.mark.parametrize("tile", [None, 8])
@pytest.mark.parametrize("channels", [3, 4])
def test_progress_counts_all_that_the_network_is_shown(tile: int | None, channels: int) -> None:
    picture, told = image(channels=channels, frames=2), list[tuple[int, int]]()
    if channels == 4:
        picture[0, ..., 3] = 1  # only the other frame is transparent
    settings = {"alpha": "model", "seamless": "y", "ensemble": True, "tile": tile}
    span_arch.upscale(model(), picture, context=span_arch.Context(progress=lambda done, total: told.append((done, total))), **settings)
    total = 8 * (2 + (channels == 4)) * (20 + 2 * margins(model(), "y")[0]) * 28
    assert (told[0], told[-1]) == ((0, total), (total, total))
    assert told == sorted(told)
    assert {in_all for _, in_all in told} == {total}


@pytest.mark.parametrize(
    "setting",
    [
        *(
            {"alpha": alpha}
            for alpha in ("bleed", None, 1, (1, 1), (1, 1, 1, 1), (0, 0, 255), (0, 0, -0.1), (0, 0, torch.nan), ("a", 0, 0))
        ),
        *({"seamless": seamless} for seamless in ("z", "yx", "off", None)),
    ],
    ids=str,
)
def test_a_setting_that_makes_no_sense_is_an_error(setting: dict[str, object]) -> None:
    with pytest.raises(errors.OptionError, match="expected"):
        span_arch.upscale(model(), image(), **setting)


def test_everything_at_once_leaves_the_image_and_the_model_alone() -> None:
    network, picture = model(), image(channels=4, frames=2).half()
    before, weights = picture.clone(), [parameter.clone() for parameter in network.model.parameters()]
    result = span_arch.upscale(network, picture, span_arch.Settings(alpha="model", seamless="xy", ensemble=True))
    assert result.shape == (2, 40, 56, 4)
    assert 0 <= float(result.min()) <= float(result.max()) <= 1
    assert torch.equal(picture, before)
    assert all(map(torch.equal, network.model.parameters(), weights))


def test_a_buffer_that_does_not_fit_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    real = torch.empty

    def full(*shape: Any, **settings: Any) -> Tensor:
        if isinstance(shape[0], tuple) and len(shape[0]) == 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return real(*shape, **settings)

    monkeypatch.setattr(torch, "empty", full)
    for settings in ({"ensemble": True}, {"seamless": "x"}, {"size": sizes.Factor(3)}):
        with pytest.raises(errors.OutOfMemoryError, match="not enough memory"):
            span_arch.upscale(model(), image(), **settings)
