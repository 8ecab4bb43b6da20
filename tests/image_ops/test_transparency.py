"""Alpha channels are resized, upscaled or composed, and transparent pixels leave no fringe."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import span_arch
from span_arch import Context, Settings, errors, sizes
from span_arch.image_ops.transparency import bleed

from ..samples import random_image, small_model

pytestmark = pytest.mark.usefixtures("one_thread")


def disc() -> Tensor:
    """Return (1, 40, 40, 4): a white disc with a soft edge on transparent black."""
    offsets = torch.arange(40.0) - 19.5
    alpha = (12.5 - torch.hypot(offsets[:, None], offsets)).clamp(0, 1)
    return torch.stack([(alpha > 0).float()] * 3 + [alpha], -1)[None]


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("alpha", ["resize", "model", (0.2, 0.5, 1.0)])
def test_opaque_image_gives_the_colours_of_the_image_without_alpha_for_the_same_work(channels: int, alpha: object) -> None:
    model, image = small_model(channels), random_image(frames=2)
    events: dict[bool, list[tuple[int, float]]] = {False: [], True: []}

    def upscaled(image: Tensor, with_alpha: bool) -> Tensor:
        listener = lambda progress: events[with_alpha].append((progress.frame, progress.fraction))  # noqa: E731
        return span_arch.upscale(model, image, Settings(alpha=alpha), Context(progress=listener))

    result = upscaled(torch.cat([image, torch.ones(2, 20, 28, 1)], -1), with_alpha=True)
    assert torch.equal(result[..., :3], upscaled(image, with_alpha=False))
    assert result.shape[-1] == (4 if isinstance(alpha, str) else 3)
    assert bool((result[..., 3:] == 1).all())
    assert events[True] == events[False]


def test_hidden_colours_of_an_opaque_image_are_not_bled() -> None:
    frame = random_image(channels=4)[0].movedim(-1, 0)
    frame[3] = 1
    assert torch.equal(bleed(frame), frame)


@pytest.mark.parametrize("alpha", ["resize", "model"])
@pytest.mark.parametrize("name", ["spanx2_ch48", "spanx4_ch48"])
def test_white_shape_on_transparent_black_has_no_dark_fringe(name: str, alpha: str) -> None:
    result = span_arch.upscale(span_arch.load(name), disc(), Settings(alpha=alpha, precision="float32"))[0]
    assert result[..., :3][result[..., 3] > 1 / 255].min() > 0.98
    assert result[0, 0, 3] < 0.02


def test_bleeding_keeps_visible_pixels_and_fills_hidden_ones_from_nearby() -> None:
    frame = random_image(100, 100, 4)[0].movedim(-1, 0)
    frame[3] = 0
    frame[3, 45:55, 45:55] = 0.3
    frame[0, :, :50], frame[0, :, 50:] = 0.25, 0.75
    bled = bleed(frame)
    assert torch.equal(bled[3], frame[3])
    assert torch.equal(bled[:, 45:55, 45:55], frame[:, 45:55, 45:55])
    assert float(bled[0, 50, 44]) == pytest.approx(0.25, abs=1e-6)
    assert float(bled[0, 50, 55]) == pytest.approx(0.75, abs=1e-6)
    assert float(bled[0, 0, 0]) == pytest.approx(0.5, abs=1e-5)  # beyond 40 pixels, the mean


def test_bleeding_leaves_an_invisible_frame_alone() -> None:
    frame = random_image(channels=4)[0].movedim(-1, 0)
    frame[3] = 0
    assert torch.equal(bleed(frame), frame)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [None, sizes.Factor(3), sizes.Factor(8)])
def test_model_upscales_alpha_like_a_grey_image(channels: int, size: sizes.Size | None) -> None:
    model, image = small_model(channels), random_image(channels=4)
    result = span_arch.upscale(model, image, Settings(size, alpha="model"))
    torch.testing.assert_close(result[..., 3:], span_arch.upscale(model, image[..., 3:], Settings(size)), atol=1e-5, rtol=0)
    assert not torch.allclose(result[..., 3:], span_arch.upscale(model, image, Settings(size))[..., 3:], atol=1e-3)


def test_colour_setting_composes_the_image_first() -> None:
    model, image = small_model(), random_image(channels=4)
    composed = image[..., :3] * image[..., 3:] + torch.tensor([1.0, 0.5, 0.0]) * (1 - image[..., 3:])
    result = span_arch.upscale(model, image, Settings(alpha=(1.0, 0.5, 0.0)))
    torch.testing.assert_close(result, span_arch.upscale(model, composed), atol=1e-6, rtol=0)


def test_colour_setting_does_not_change_images_without_alpha() -> None:
    model, image = small_model(), random_image()
    assert torch.equal(span_arch.upscale(model, image, Settings(alpha=(1.0, 0.5, 0.0))), span_arch.upscale(model, image))


@pytest.mark.parametrize(
    "alpha", ["bleed", None, 1, (1, 1), (1, 1, 1, 1), (0, 0, 255), (0, 0, -0.1), (0, 0, torch.nan), ("a", 0, 0)], ids=str
)
def test_unknown_alpha_setting_is_an_error(alpha: object) -> None:
    with pytest.raises(errors.OptionError, match=r"The alpha setting is .*\. Expected 'resize', 'model', or a colour"):
        Settings(alpha=alpha)
