"""The requested size is met to the pixel, in as many passes as needed, or refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch import Tensor

import span_arch
from span_arch import Context, Settings, errors
from span_arch._util import memory
from span_arch.engine.context import Probes
from span_arch.engine.pipeline import canvas_in_any_memory, plan_upscale, resize_in_any_memory
from span_arch.image_ops.sizes import Exact, Factor, Longest, Megapixels, Shortest, Size, route

from ..samples import random_image, small_model

pytestmark = pytest.mark.usefixtures("one_thread")

X2 = small_model(blocks=1)


def image(height: int = 12, width: int = 17, channels: int = 3, frames: int = 1) -> Tensor:
    return random_image(height, width, channels, frames)


def nearest(numerator: int, denominator: int) -> int:
    return max(1, (2 * numerator + denominator) // (2 * denominator))


sides = st.integers(1, 5000)
hundredths = st.integers(1, 3000)
boxes = st.builds(Exact, sides, sides, st.sampled_from(["stretch", "fit", "fill"]))
requests: st.SearchStrategy[Size] = st.one_of(
    hundredths.map(lambda n: Factor(n / 100)),
    sides.map(Longest),
    sides.map(Shortest),
    boxes,
    hundredths.map(lambda n: Megapixels(n / 100)),
)


@settings(max_examples=1000)
@given(requests, sides, sides, st.integers(1, 8))
@example(Factor(0.35), 10, 30, 2)  # 3.5 and 10.5, but less than that in binary
def test_sizes_are_exact_to_the_pixel(size: Size, height: int, width: int, scale: int) -> None:
    assume(max(height, width) * max(size.factors(height, width)) < 1e6)
    path = route(size, height, width, scale)
    long, short = max(height, width), min(height, width)
    match size:
        case Factor(factor):
            hundred = round(factor * 100)
            assert path.size == (nearest(height * hundred, 100), nearest(width * hundred, 100))
        case Longest(pixels):
            assert sorted(path.size) == sorted((pixels, nearest(short * pixels, long)))
        case Shortest(pixels):
            assert sorted(path.size) == sorted((pixels, nearest(long * pixels, short)))
        case Exact(w, h, fit):
            covers = w * height >= h * width  # at the requested width, the image is higher than requested
            by_width, by_height = (nearest(height * w, width), w), (h, nearest(width * h, height))
            assert path.size == ((by_height if covers else by_width) if fit == "fit" else (h, w))
            assert path.whole == ((h, w) if fit == "stretch" else by_width if covers == (fit == "fill") else by_height)
        case Megapixels(millions):
            factor = math.sqrt(millions * 1e6 / (height * width))
            assert all(abs(new - max(1, old * factor)) <= 0.5001 for new, old in zip(path.size, (height, width), strict=True))
    assert all(kept <= whole for kept, whole in zip(path.size, path.whole, strict=True))


@given(requests, sides, sides, st.integers(1, 8))
def test_network_runs_as_often_as_needed_and_no_more(size: Size, height: int, width: int, scale: int) -> None:
    factor = max(size.factors(height, width))
    assume(max(height, width) * factor < 1e6)
    path = route(size, height, width, scale)
    assert path.steps == tuple((height * scale**step, width * scale**step) for step in range(path.passes + 1))
    assert path.passes == 1 if scale == 1 else scale**path.passes * Fraction(101, 100) >= factor
    assert path.passes == 1 or scale ** (path.passes - 1) * Fraction(101, 100) < factor


@pytest.mark.parametrize(
    ("size", "scale", "passes"),
    [
        (None, 4, 1),
        (Factor(8), 2, 3),
        (Factor(8.01), 2, 3),
        (Factor(8.1), 2, 4),
        (Factor(1.5), 4, 1),
        (Factor(0.3), 2, 1),
        (Factor(7), 1, 1),
    ],
)
def test_number_of_passes(size: Size | None, scale: int, passes: int) -> None:
    path = route(size, 30, 40, scale)
    assert path.passes == passes
    assert path.filtered == (size not in (None, Factor(8), Factor(8.01)))  # which is 240.3x320.4


@settings(max_examples=40)
@given(
    st.one_of(
        st.integers(1, 500).map(lambda n: Factor(n / 100)),
        st.builds(Exact, st.integers(1, 60), st.integers(1, 60), st.sampled_from(["stretch", "fit", "fill"])),
        st.integers(1, 60).map(Longest),
    ),
    st.integers(3, 12),
    st.integers(3, 12),
    st.sampled_from([1, 3, 4]),
)
def test_result_has_the_requested_size_and_progress_counts_all_passes(size: Size, height: int, width: int, channels: int) -> None:
    events: list[span_arch.Progress] = []
    frames = image(height, width, channels, 2)
    result = span_arch.upscale(X2, frames, Settings(size=size), Context(progress=events.append))
    path = route(size, height, width, 2)
    assert result.shape == (2, *path.size, channels)
    assert 0 <= float(result.min()) <= float(result.max()) <= 1
    pixels = sum(height * width * 4**step for step in range(path.passes))
    assert path.pixels == plan_upscale(X2, Settings(size=size), frames.shape[1:]).pixels(frames[0]) == pixels
    positions = [event.frame + event.fraction for event in events]
    assert positions == sorted(positions)
    assert (positions[0], positions[-1]) == (0, 2)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [Factor(2), Factor(2.0), Exact(34, 24, "fill"), Longest(34)])
def test_scale_of_the_model_needs_no_resize(size: Size, channels: int) -> None:
    path = route(size, 12, 17, 2)
    assert (path.passes, path.filtered) == (1, False)
    frame = image(channels=channels)
    assert torch.equal(span_arch.upscale(X2, frame, Settings(size=size)), span_arch.upscale(X2, frame))


@pytest.mark.parametrize("tile", [None, 8])
@pytest.mark.parametrize("model_channels", [1, 3, 4])
@pytest.mark.parametrize("image_channels", [1, 3])
def test_further_passes_run_on_the_results_of_earlier_ones(image_channels: int, model_channels: int, tile: int | None) -> None:
    model = small_model(model_channels, blocks=1)
    expected = image(channels=image_channels, frames=2)
    for _ in range(3):
        expected = span_arch.upscale(model, expected, Settings(precision="float32"))
    frames = image(channels=image_channels, frames=2)
    result = span_arch.upscale(model, frames, Settings(size=Factor(8), tile=tile, precision="float32"))
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("scale", "factor"), [(1, 3.0), (2, 1.5), (2, 3.5)])
def test_filter_does_the_rest(scale: int, factor: float) -> None:
    model, frames = small_model(scale=scale, blocks=1), image(frames=2)
    expected = frames
    for _ in range(route(Factor(factor), 12, 17, scale).passes):
        expected = span_arch.upscale(model, expected)
    result = span_arch.upscale(model, frames, Settings(size=Factor(factor), filter="bicubic"))
    expected = F.interpolate(expected.movedim(-1, 1), result.shape[1:3], mode="bicubic", antialias=True).clamp(0, 1).movedim(1, -1)
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=0)
    other = span_arch.upscale(model, frames, Settings(size=Factor(factor), filter="area"))
    assert not torch.allclose(other, expected, atol=1e-3)


def test_fill_keeps_the_middle_and_fit_keeps_the_proportions() -> None:
    whole, filled, fitted = (
        span_arch.upscale(X2, image(12, 24), Settings(size=size)) for size in (Exact(40, 20), Exact(21, 20, "fill"), Exact(40, 33, "fit"))
    )
    torch.testing.assert_close(filled, whole[:, :, 9:30], atol=1e-6, rtol=0)
    torch.testing.assert_close(fitted, whole, atol=1e-6, rtol=0)


def test_opaque_alpha_does_not_change_resized_colours() -> None:
    frame = torch.cat([image(20, 30), torch.ones(1, 20, 30, 1)], -1)
    result = span_arch.upscale(X2, frame, Settings(size=Factor(3.3)))
    assert torch.equal(result[..., :3], span_arch.upscale(X2, frame[..., :3], Settings(size=Factor(3.3))))
    assert bool((result[..., 3] == 1).all())


def test_alpha_is_resized_like_the_colours() -> None:
    frame = torch.cat([image(20, 30), torch.ones(1, 20, 30, 1)], -1)
    frame[:, :, :10, 3] = 0
    alpha = span_arch.upscale(X2, frame, Settings(size=Exact(60, 66, "fill")))[0, ..., 3]
    assert bool((alpha[:, :8] == 0).all())  # the edge is at column 33 of 99, and 19 columns are cropped on the left
    assert bool((alpha[:, 20:] > 0.999999).all())
    half = F.interpolate(frame[..., 3][None], scale_factor=0.5, mode="bicubic", antialias=True)[0].clamp(0, 1)
    torch.testing.assert_close(span_arch.upscale(X2, frame, Settings(size=Factor(0.5)))[..., 3], half, atol=1e-5, rtol=0)


def test_batch_is_allocated_at_the_requested_size_only() -> None:
    shapes: list[Sequence[int]] = []
    wishes: list[int] = []

    def allocate(shape: Sequence[int]) -> Tensor:
        shapes.append(shape)
        return torch.empty(tuple(shape), dtype=torch.float16)

    def room(wanted: int) -> int:
        wishes.append(wanted)
        return 1 << 30

    frames = image(frames=5)
    result = span_arch.upscale(X2, frames, Settings(size=Factor(3)), Context(allocate=allocate, room=room))
    assert list(map(tuple, shapes)) == [(5, 36, 51, 3)]
    assert plan_upscale(X2, Settings(size=Factor(3)), frames.shape[1:]).between == [(3, 24, 34), (3, 48, 68)]
    assert wishes[0] == 4 * (3 * 24 * 34 + 3 * 48 * 68)
    assert len(wishes) == 3
    assert result.dtype is torch.float16


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Factor(0), "The factor is 0. Expected a number above 0 and up to 1,000,000."),
        (lambda: Factor(-2), "The factor is -2."),
        (lambda: Factor(math.nan), "The factor is nan."),
        (lambda: Factor(math.inf), "The factor is inf."),
        (lambda: Megapixels(0), "The number of megapixels is 0."),
        (lambda: Longest(0), "The longest side is 0. Expected a whole number from 1 to 1,000,000."),
        (lambda: Shortest(-1), "The shortest side is -1."),
        (lambda: Longest(10.5), "The longest side is 10.5."),
        (lambda: Exact(0, 5), "The width is 0."),
        (lambda: Exact(5, -1), "The height is -1."),
        (lambda: Exact(5, 5, "crop"), "The fit is 'crop'. Expected stretch, fit or fill."),
        (lambda: route(Factor(1e6), 12, 17, 2), "17000000x12000000 pixels. Choose a size with sides of up to 1,000,000."),
        (
            lambda: span_arch.upscale(small_model(out_channels=1), image(), Settings(size=Factor(4))),
            "takes 3 channels and gives 1, so it can run only once. Choose at most 2 times",
        ),
    ],
)
def test_impossible_size_is_an_error(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(errors.OptionError) as caught:
        make()
    assert message in str(caught.value)


def test_size_that_does_not_fit_into_memory_is_refused_before_the_work() -> None:
    events: list[span_arch.Progress] = []
    context = Context(progress=events.append, probes=Probes(main_bytes=lambda: 10**9))
    message = r"15000x10000 pixels, by way of 19200x12800 need 5\.7 GB of memory, and 1\.0 GB are free\. Choose a smaller size"
    with pytest.raises(errors.OutOfMemoryError, match=message):
        span_arch.upscale(X2, image(200, 300), Settings(size=Factor(50)), context)
    with pytest.raises(errors.OutOfMemoryError, match=r"3\d\d\.\d GB"):
        span_arch.upscale(X2, torch.zeros(1, 1, 1, 3).expand(1, 1500, 2000, 3), Settings(size=Factor(100)), context)
    assert not events


def test_free_main_memory_is_plausible_or_unknown() -> None:
    found = memory.main_bytes()
    assert found is None or 1 << 24 < found < 1 << 50


def test_full_device_leaves_the_rest_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    empty, device = torch.empty, torch.device("cuda")

    def full(*shape: Any, device: torch.device | None = None, **options: Any) -> Tensor:
        if device is not None and device.type == "cuda":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return empty(*shape, **options)

    def resize(frame: Any, result: Tensor) -> None:
        if frame is on_device:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        result.copy_(frame)

    on_device, result = SimpleNamespace(device=device, cpu=lambda: torch.ones(3)), torch.zeros(3)
    monkeypatch.setattr(torch, "empty", full)
    assert canvas_in_any_memory((1, 2, 3), device).device.type == "cpu"
    resize_in_any_memory(resize, on_device, result)
    assert bool((result == 1).all())
