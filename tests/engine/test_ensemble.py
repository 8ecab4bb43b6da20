"""The self-ensemble averages all orientations, alone and together with other settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import span_arch
from span_arch import Context, Settings, errors, sizes
from span_arch.engine.pipeline import plan_upscale
from span_arch.engine.seamless import margins
from span_arch.image_files import read_image
from span_arch.image_ops.metrics import quality

from ..samples import random_image, small_model

pytestmark = pytest.mark.usefixtures("one_thread")

FLOAT32 = Settings(precision="float32")


def turned(image: Tensor, orientation: int) -> Tensor:
    """Return one of the eight orientations of (B, H, W, C)."""
    image = image.transpose(1, 2) if orientation & 4 else image
    return image.flip([axis for axis, bit in ((1, 1), (2, 2)) if orientation & bit])


def turned_back(image: Tensor, orientation: int) -> Tensor:
    image = image.flip([axis for axis, bit in ((1, 1), (2, 2)) if orientation & bit])
    return image.transpose(1, 2) if orientation & 4 else image


@pytest.mark.parametrize("settings", [FLOAT32, replace(FLOAT32, tile=8), replace(FLOAT32, seamless="x")])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_ensemble_is_the_mean_of_eight_orientations(channels: int, settings: Settings) -> None:
    model, image = small_model(), random_image(channels=channels)
    across = replace(settings, seamless="y") if settings.seamless else settings
    results = [
        turned_back(span_arch.upscale(model, turned(image, orientation), across if orientation & 4 else settings), orientation)
        for orientation in range(8)
    ]
    result = span_arch.upscale(model, image, replace(settings, ensemble=True))
    torch.testing.assert_close(result, torch.stack(results).mean(0), atol=1e-5, rtol=0)


@pytest.mark.parametrize("orientation", range(1, 8))
def test_ensemble_gives_the_same_result_in_every_orientation(orientation: int) -> None:
    model, image, settings = small_model(), random_image(frames=2), replace(FLOAT32, ensemble=True)
    result = span_arch.upscale(model, turned(image, orientation), settings)
    torch.testing.assert_close(turned_back(result, orientation), span_arch.upscale(model, image, settings), atol=1e-5, rtol=0)


def test_ensemble_gains_on_set5(data: Path) -> None:
    model = span_arch.load("spanx4_ch48")
    gains: list[float] = []
    for path in sorted((data / "Set5/x4").glob("*_LR.png")):
        image, original = (read_image(name).image for name in (path, path.with_name(path.name.replace("_LR", "_HR"))))
        plain, ensemble = (span_arch.upscale(model, image, Settings(ensemble=value))[0] for value in (False, True))
        original = original[0, : plain.shape[0], : plain.shape[1]]
        gains.append(quality(ensemble, original, border=4).psnr - quality(plain, original, border=4).psnr)
    assert len(gains) == 5
    assert sum(gains) / len(gains) >= 0.05


@pytest.mark.parametrize("tile", [None, 8])
@pytest.mark.parametrize("channels", [3, 4])
def test_progress_counts_every_pixel_that_enters_the_network(tile: int | None, channels: int) -> None:
    model, image, events = small_model(), random_image(channels=channels, frames=2), list[span_arch.Progress]()
    if channels == 4:
        image[0, ..., 3] = 1  # only the other frame is transparent
    settings = Settings(alpha="model", seamless="y", ensemble=True, tile=tile)
    plan = plan_upscale(model, settings, image.shape[1:])
    passes = 8 * (2 + (channels == 4))
    assert sum(map(plan.pixels, image)) == passes * (20 + 2 * margins(model, "y")[0]) * 28
    span_arch.upscale(model, image, settings, Context(progress=events.append))
    positions = [event.frame + event.fraction for event in events]
    assert positions[0] == 0
    assert (events[-1].frame, events[-1].fraction) == (2, 0)
    assert positions == sorted(positions)
    assert all(0 <= event.fraction < 1 for event in events)
    assert {event.frames for event in events} == {2}


def test_all_settings_together_change_neither_image_nor_model() -> None:
    model, image = small_model(), random_image(channels=4, frames=2).half()
    before, weights = image.clone(), [parameter.clone() for parameter in model.model.parameters()]
    result = span_arch.upscale(model, image, Settings(alpha="model", seamless="xy", ensemble=True))
    assert result.shape == (2, 40, 56, 4)
    assert 0 <= float(result.min()) <= float(result.max()) <= 1
    assert torch.equal(image, before)
    assert all(map(torch.equal, model.model.parameters(), weights))


@pytest.mark.parametrize("settings", [Settings(ensemble=True), Settings(seamless="x"), Settings(size=sizes.Factor(3))], ids=str)
def test_intermediate_image_that_does_not_fit_is_reported(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    empty = torch.empty

    def full(*shape: Any, **options: Any) -> Tensor:
        if isinstance(shape[0], tuple) and len(shape[0]) == 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return empty(*shape, **options)

    model = small_model()
    monkeypatch.setattr(torch, "empty", full)
    with pytest.raises(errors.OutOfMemoryError, match="not enough memory on cpu: an intermediate image needs"):
        span_arch.upscale(model, random_image(), settings)
