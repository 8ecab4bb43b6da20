"""`upscale`: channels, types, previews and errors. Nothing that is passed in is changed."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from spandrel import ModelLoader
from torch import Tensor

import span_arch
from span_arch import Context, Progress, Settings, errors, upscale
from span_arch.archs.span import SPAN
from span_arch.models.build import FamilyModel, adopt
from span_arch.streaming import Stream

from .samples import image, small_model


@pytest.mark.parametrize("of_model", [1, 3, 4])
@pytest.mark.parametrize("of_image", [1, 3, 4])
def test_every_image_runs_through_every_network(of_image: int, of_model: int) -> None:
    result = upscale(small_model(of_model), image(channels=of_image, frames=2), Settings(tile=32))
    assert result.shape == (2, 120, 180, of_image)
    assert result.dtype is torch.float32
    assert 0 <= float(result.min()) <= float(result.max()) <= 1


def test_opaque_alpha_does_not_change_the_colours() -> None:
    frames = image()
    result = upscale(small_model(), torch.cat([frames, torch.ones(1, 60, 90, 1)], -1))
    assert torch.equal(result[..., :3], upscale(small_model(), frames))
    assert bool((result[..., 3] == 1).all())


def test_alpha_is_resized() -> None:
    frames = image(channels=4)
    frames[..., 3] = 0
    frames[:, :, 45:, 3] = 1
    alpha = upscale(small_model(), frames)[..., 3]
    assert bool((alpha[:, :, :80] == 0).all())
    assert bool((alpha[:, :, 100:] > 0.999999).all())


def test_grey_network_upscales_each_colour_alone() -> None:
    frames = image()
    result = upscale(small_model(1), frames)
    for channel in range(3):
        alone = upscale(small_model(1), frames[..., channel : channel + 1])
        torch.testing.assert_close(result[..., channel : channel + 1], alone, atol=1e-5, rtol=0)


def test_image_may_have_any_floating_type_and_layout() -> None:
    frames = image()
    strided = frames.movedim(-1, 1).contiguous().movedim(1, -1)
    expected = upscale(small_model(), frames)
    torch.testing.assert_close(upscale(small_model(), strided), expected, atol=1e-5, rtol=0)
    half = upscale(small_model(), frames.half())
    assert half.dtype is torch.float32
    torch.testing.assert_close(half, expected, atol=1e-2, rtol=0)


def test_caller_allocates_the_result() -> None:
    result = upscale(small_model(), image(), context=Context(allocate=lambda shape: torch.empty(tuple(shape), dtype=torch.float16)))
    assert result.dtype is torch.float16


def test_progress_runs_from_zero_to_one() -> None:
    events: list[Progress] = []
    upscale(small_model(), image(frames=2), Settings(tile=32), Context(progress=events.append))
    shares = [event.done for event in events]
    assert (shares[0], shares[-1]) == (0, 1)
    assert shares == sorted(shares)
    assert len(shares) == 2 * 2 * 3 + 1


def test_preview_of_an_image_grows_over_a_dim_copy() -> None:
    previews: list[Tensor] = []

    def listen(event: Progress) -> None:
        preview = event.preview()
        assert preview is not None
        previews.append(preview.clone())

    frames = torch.full((1, 60, 90, 3), 0.8)
    result = upscale(small_model(), frames, Settings(tile=32), Context(progress=listen))
    assert previews[0].shape == (120, 180, 3)
    torch.testing.assert_close(previews[0], torch.full_like(previews[0], 0.2))
    torch.testing.assert_close(previews[-1], result[0])
    assert not torch.equal(previews[1], previews[0])
    assert not torch.equal(previews[1], previews[-1])


def test_preview_of_a_batch_is_its_last_finished_image() -> None:
    previews: list[Tensor | None] = []
    result = upscale(small_model(), image(frames=2), context=Context(progress=lambda event: previews.append(event.preview())))
    assert previews[0] is None
    assert previews[-1] is not None
    torch.testing.assert_close(previews[-1], result[1])


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (torch.zeros(4, 4, 3), r"shape \(4, 4, 3\)"),
        (torch.zeros(1, 4, 4, 3, dtype=torch.uint8), "Divide it by 255"),
        (torch.zeros(1, 4, 4, 2), "2 channels"),
        (torch.zeros(1, 4, 4, 5), "5 channels"),
        (torch.zeros(1, 3, 4, 6), "6 channels"),
        (torch.zeros(1, 0, 4, 3), "no pixels"),
        (torch.zeros(0, 4, 4, 3), "no pixels"),
        (torch.full((1, 4, 4, 3), torch.nan), "48 NaN or infinite values"),
        (torch.full((1, 4, 4, 3), torch.inf), "infinite"),
    ],
)
def test_bad_image_is_refused_with_the_reason(bad: Tensor, words: str) -> None:
    with pytest.raises(errors.ImageError, match=words):
        upscale(small_model(), bad)


@pytest.mark.parametrize("setting", [{"tile": 0}, {"tile": -4}, {"precision": "float8"}])
def test_setting_out_of_range_is_an_error(setting: dict[str, object]) -> None:
    with pytest.raises(errors.OptionError, match="Choose"):
        Settings(**setting)


def test_span_of_another_loader_is_fused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    ours = span_arch.from_state_dict(SPAN(feature_channels=8, scale=2).state_dict())
    span_arch.save(ours, tmp_path / "training.pth", form="training")
    theirs = ModelLoader().load_from_file(tmp_path / "training.pth")
    assert isinstance(adopt(theirs), FamilyModel)
    assert adopt(ours) is ours
    torch.testing.assert_close(upscale(theirs, image()), upscale(ours, image()), atol=1e-4, rtol=0)


def test_span_of_another_loader_is_fused_once_until_its_weights_change(tmp_path: Path) -> None:
    torch.manual_seed(0)
    span_arch.save(span_arch.from_state_dict(SPAN(feature_channels=8, scale=2).state_dict()), tmp_path / "x.pth", form="training")
    theirs = ModelLoader().load_from_file(tmp_path / "x.pth")
    first = adopt(theirs)
    assert adopt(theirs) is first
    with torch.no_grad():
        theirs.model.upsampler[0].bias.add_(0.25)
    torch.testing.assert_close(adopt(theirs).model.upsampler[0].bias, first.model.upsampler[0].bias + 0.25)
    gone = weakref.ref(theirs.model)
    del theirs
    gc.collect()
    assert gone() is None


def test_result_that_does_not_fit_is_reported_in_gigabytes() -> None:
    def full(shape: Sequence[int]) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(errors.OutOfMemoryError, match=r"3 images of 4000x2000 pixels take 0\.3 GB"):
        upscale(small_model(), torch.zeros(1, 1, 1, 3).expand(3, 1000, 2000, 3), context=Context(allocate=full))


@pytest.mark.parametrize("tile", [None, 32])
def test_no_copy_of_the_network_outlives_the_run(tile: int | None) -> None:
    network = small_model()
    gc.disable()
    try:
        upscale(network, image(), Settings(tile=tile))
        before = sum(type(thing) in (SPAN, Stream) for thing in gc.get_objects())
        upscale(network, image(), Settings(tile=tile))
        assert sum(type(thing) in (SPAN, Stream) for thing in gc.get_objects()) == before
    finally:
        gc.enable()
