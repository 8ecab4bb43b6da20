"""The size that is asked for: exact to the pixel, in as many passes as it takes, and refused where it cannot be."""

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
from span_arch import errors
from span_arch._util import memory
from span_arch.archs.span import SPAN
from span_arch.engine import pipeline
from span_arch.image_ops.sizes import Exact, Factor, Longest, Megapixels, Shortest, Size, route
from span_arch.models.build import FamilyModel

pytestmark = pytest.mark.usefixtures("one_thread")


def model(scale: int = 2, channels: int = 3, out_channels: int = 3) -> FamilyModel:
    torch.manual_seed(0)
    return span_arch.from_state_dict(
        SPAN(in_channels=channels, out_channels=out_channels, feature_channels=8, blocks=1, scale=scale, normalisation=None).state_dict()
    )


X2 = model()


def image(height: int = 12, width: int = 17, channels: int = 3, frames: int = 1) -> Tensor:
    return torch.rand(frames, height, width, channels, generator=torch.Generator().manual_seed(1))


def nearest(numerator: int, denominator: int) -> int:
    return max(1, (2 * numerator + denominator) // (2 * denominator))


sides = st.integers(1, 5000)
hundredths = st.integers(1, 3000)
boxes = st.builds(Exact, sides, sides, st.sampled_from(["stretch", "fit", "fill"]))
wishes: st.SearchStrategy[Size] = st.one_of(
    hundredths.map(lambda n: Factor(n / 100)),
    sides.map(Longest),
    sides.map(Shortest),
    boxes,
    hundredths.map(lambda n: Megapixels(n / 100)),
)


@settings(max_examples=1000)
@given(wishes, sides, sides, st.integers(1, 8))
@example(Factor(0.35), 10, 30, 2)  # 3.5 and 10.5, but less than that in binary
def test_sizes_are_exact_to_the_pixel(wish: Size, height: int, width: int, scale: int) -> None:
    assume(max(height, width) * max(wish.factors(height, width)) < 1e6)
    way = route(wish, height, width, scale)
    long, short = max(height, width), min(height, width)
    match wish:
        case Factor(factor):
            hundred = round(factor * 100)
            assert way.size == (nearest(height * hundred, 100), nearest(width * hundred, 100))
        case Longest(pixels):
            assert sorted(way.size) == sorted((pixels, nearest(short * pixels, long)))
        case Shortest(pixels):
            assert sorted(way.size) == sorted((pixels, nearest(long * pixels, short)))
        case Exact(w, h, fit):
            covers = w * height >= h * width  # as wide as is wanted, the image is higher than that
            by_width, by_height = (nearest(height * w, width), w), (h, nearest(width * h, height))
            assert way.size == ((by_height if covers else by_width) if fit == "fit" else (h, w))
            assert way.whole == ((h, w) if fit == "stretch" else by_width if covers == (fit == "fill") else by_height)
        case Megapixels(millions):
            factor = math.sqrt(millions * 1e6 / (height * width))
            assert all(abs(new - max(1, old * factor)) <= 0.5001 for new, old in zip(way.size, (height, width), strict=True))
    assert all(
        0 <= 2 * corner <= whole - kept <= 2 * corner + 1 for corner, whole, kept in zip(way.corner, way.whole, way.size, strict=True)
    )


@given(wishes, sides, sides, st.integers(1, 8))
def test_the_network_is_run_as_often_as_it_takes_and_not_once_more(wish: Size, height: int, width: int, scale: int) -> None:
    factor = max(wish.factors(height, width))
    assume(max(height, width) * factor < 1e6)
    way = route(wish, height, width, scale)
    assert way.steps == tuple((height * scale**step, width * scale**step) for step in range(way.passes + 1))
    assert way.passes == 1 if scale == 1 else scale**way.passes * Fraction(101, 100) >= factor
    assert way.passes == 1 or scale ** (way.passes - 1) * Fraction(101, 100) < factor


@pytest.mark.parametrize(
    ("wish", "scale", "passes"),
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
def test_how_often_the_network_is_run(wish: Size | None, scale: int, passes: int) -> None:
    way = route(wish, 30, 40, scale)
    assert way.passes == passes
    assert way.filtered == (wish not in (None, Factor(8), Factor(8.01)))  # which is 240.3x320.4


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
def test_what_comes_out_is_of_that_size(wish: Size, height: int, width: int, channels: int) -> None:
    told: list[tuple[int, int]] = []
    result = span_arch.upscale(
        X2, image(height, width, channels, 2), span_arch.Settings(size=wish), span_arch.Context(progress=lambda *step: told.append(step))
    )
    way = route(wish, height, width, 2)
    assert result.shape == (2, *way.size, channels)
    assert 0 <= float(result.min()) <= float(result.max()) <= 1
    total = 2 * sum(height * width * 4**step for step in range(way.passes))
    assert told == [(done, total) for done in sorted(done for done, _ in told)]
    assert (told[0][0], told[-1][0]) == (0, total)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("wish", [Factor(2), Factor(2.0), Exact(34, 24, "fill"), Longest(34)])
def test_the_models_own_scale_is_no_resize(wish: Size, channels: int) -> None:
    way = route(wish, 12, 17, 2)
    assert (way.passes, way.filtered) == (1, False)
    assert torch.equal(
        span_arch.upscale(X2, image(channels=channels), span_arch.Settings(size=wish)), span_arch.upscale(X2, image(channels=channels))
    )


@pytest.mark.parametrize("tile", [None, 8])
@pytest.mark.parametrize("of_model", [1, 3, 4])
@pytest.mark.parametrize("of_image", [1, 3])
def test_a_network_is_run_again_on_what_it_gave(of_image: int, of_model: int, tile: int | None) -> None:
    network = model(2, of_model, of_model)
    expected = image(channels=of_image, frames=2)
    for _ in range(3):
        expected = span_arch.upscale(network, expected, span_arch.Settings(precision="float32"))
    result = span_arch.upscale(
        network, image(channels=of_image, frames=2), span_arch.Settings(size=Factor(8), tile=tile, precision="float32")
    )
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("scale", "factor"), [(1, 3.0), (2, 1.5), (2, 3.5)])
def test_the_rest_is_a_filter(scale: int, factor: float) -> None:
    network, expected = model(scale), image(frames=2)
    for _ in range(route(Factor(factor), 12, 17, scale).passes):
        expected = span_arch.upscale(network, expected)
    result = span_arch.upscale(network, image(frames=2), span_arch.Settings(size=Factor(factor), filter="bicubic"))
    expected = F.interpolate(expected.movedim(-1, 1), result.shape[1:3], mode="bicubic", antialias=True).clamp(0, 1).movedim(1, -1)
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=0)
    assert not torch.allclose(
        span_arch.upscale(network, image(frames=2), span_arch.Settings(size=Factor(factor), filter="area")), expected, atol=1e-3
    )


def test_fill_keeps_the_middle_and_fit_the_proportions() -> None:
    whole = span_arch.upscale(X2, image(12, 24), span_arch.Settings(size=Exact(40, 20)))
    torch.testing.assert_close(
        span_arch.upscale(X2, image(12, 24), span_arch.Settings(size=Exact(21, 20, "fill"))), whole[:, :, 9:30], atol=1e-6, rtol=0
    )
    torch.testing.assert_close(
        span_arch.upscale(X2, image(12, 24), span_arch.Settings(size=Exact(40, 33, "fit"))), whole, atol=1e-6, rtol=0
    )


def test_alpha_has_the_size_of_the_colours() -> None:
    picture = torch.cat([image(20, 30), torch.ones(1, 20, 30, 1)], -1)
    result = span_arch.upscale(X2, picture, span_arch.Settings(size=Factor(3.3)))
    assert torch.equal(result[..., :3], span_arch.upscale(X2, picture[..., :3], span_arch.Settings(size=Factor(3.3))))
    assert bool((result[..., 3] == 1).all())
    picture[:, :, :10, 3] = 0
    alpha = span_arch.upscale(X2, picture, span_arch.Settings(size=Exact(60, 66, "fill")))[
        0, ..., 3
    ]  # the edge is at 33 of 99 columns, of which 19 are cut off
    assert bool((alpha[:, :8] == 0).all())
    assert bool((alpha[:, 20:] > 0.999999).all())
    half = F.interpolate(picture[..., 3][None], scale_factor=0.5, mode="bicubic", antialias=True)[0].clamp(0, 1)
    torch.testing.assert_close(span_arch.upscale(X2, picture, span_arch.Settings(size=Factor(0.5)))[..., 3], half, atol=1e-5, rtol=0)


def test_a_batch_is_held_at_the_size_that_is_wanted_only(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []
    asked: list[int] = []

    def allocate(shape: Sequence[int]) -> Tensor:
        shapes.append(tuple(shape))
        return torch.empty(tuple(shape), dtype=torch.float16)

    real = pipeline._canvas
    monkeypatch.setattr(pipeline, "_canvas", lambda shape, device: shapes.append(shape) or real(shape, device))
    result = span_arch.upscale(
        X2,
        image(frames=5),
        span_arch.Settings(size=Factor(3)),
        span_arch.Context(allocate=allocate, room=lambda size: asked.append(size) or 1 << 30),
    )
    assert shapes == [(5, 36, 51, 3), (24, 34, 3), (48, 68, 3)]
    assert asked[0] == 4 * (3 * 24 * 34 + 3 * 48 * 68)
    assert len(asked) == 3
    assert result.dtype is torch.float16


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Factor(0), "A factor of 0 was asked for; give a number above 0"),
        (lambda: Factor(-2), "factor of -2"),
        (lambda: Factor(math.nan), "factor of nan"),
        (lambda: Factor(math.inf), "factor of inf"),
        (lambda: Megapixels(0), "megapixels of 0"),
        (lambda: Longest(0), "longest side of 0 was asked for; give a whole number from 1"),
        (lambda: Shortest(-1), "shortest side of -1"),
        (lambda: Longest(10.5), "longest side of 10.5"),
        (lambda: Exact(0, 5), "width of 0"),
        (lambda: Exact(5, -1), "height of -1"),
        (lambda: Exact(5, 5, "crop"), "'crop' to meet a size is unknown; expected stretch, fit or fill"),
        (lambda: route(Factor(1e6), 12, 17, 2), "17000000x12000000 pixels; ask for one whose sides are up to 1,000,000"),
        (lambda: span_arch.upscale(X2, image(), span_arch.Settings(filter="nearest")), "filter 'nearest'"),
        (
            lambda: span_arch.upscale(model(2, 3, 1), image(), span_arch.Settings(size=Factor(4))),
            "takes 3 channels and gives 1; ask for at most 2 times",
        ),
    ],
)
def test_a_size_that_cannot_be_is_told_why(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(errors.OptionError, match=words):
        make()


def test_a_size_that_does_not_fit_is_refused_in_gigabytes_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(memory, "main_bytes", lambda: 10**9)
    words = (
        r"5\.7 GB of memory are needed for results of 15000x10000 pixels, by way of 19200x12800, and 1\.0 GB are free. Ask for a smaller"
    )
    with pytest.raises(errors.OutOfMemoryError, match=words):
        span_arch.upscale(
            X2,
            torch.rand(1, 200, 300, 3),
            span_arch.Settings(size=Factor(50)),
            span_arch.Context(progress=lambda done, _: told.append(done)),
        )
    with pytest.raises(errors.OutOfMemoryError, match=r"3\d\d\.\d GB"):
        span_arch.upscale(X2, torch.zeros(1, 1, 1, 3).expand(1, 1500, 2000, 3), span_arch.Settings(size=Factor(100)))
    assert not told


def test_main_memory_is_known_or_not_at_all() -> None:
    found = memory.main_bytes()
    assert found is None or 1 << 24 < found < 1 << 50


def test_a_device_that_is_full_leaves_the_rest_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    real, device = torch.empty, torch.device("cuda")

    def full(*shape: Any, device: torch.device | None = None, **settings: Any) -> Tensor:
        if device is not None and device.type == "cuda":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return real(*shape, **settings)

    def resize(frame: Any, result: Tensor) -> None:
        if frame is elsewhere:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        result.copy_(frame)

    elsewhere, result = SimpleNamespace(device=device, cpu=lambda: torch.ones(3)), torch.zeros(3)
    monkeypatch.setattr(torch, "empty", full)
    assert pipeline._canvas((2, 3, 1), device).device.type == "cpu"
    pipeline._resize(resize, elsewhere, result)
    assert bool((result == 1).all())
