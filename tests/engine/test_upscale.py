"""Upscaling: channels, types, faults, and that nothing which was passed in is changed."""

from __future__ import annotations

import gc
import logging
import sys
import weakref
from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from spandrel import ModelLoader
from torch import Tensor

import span_arch
from span_arch import errors
from span_arch.archs.span import SPAN
from span_arch.engine.footprint import footprint
from span_arch.models.build import FamilyModel, adopt
from span_arch.streaming import Stream

from ..faults import Stop


def model(channels: int = 3, scale: int = 2) -> FamilyModel:
    torch.manual_seed(0)
    network = SPAN(in_channels=channels, out_channels=channels, feature_channels=8, blocks=2, scale=scale, normalisation=None)
    return span_arch.from_state_dict(network.state_dict())


def image(height: int = 60, width: int = 90, channels: int = 3, frames: int = 1) -> Tensor:
    torch.manual_seed(1)
    return F.interpolate(torch.rand(frames, channels, 9, 9), size=(height, width), mode="bicubic").clamp(0, 1).movedim(1, -1).contiguous()


class Patched:
    """Replaces the forward pass of all SPANs, which are then tiled, as it has no graph; and counts its calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, instead: Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]) -> None:
        self.sizes: list[int] = []
        real = SPAN.forward

        def forward(network: SPAN, x: Tensor) -> Tensor:
            if x.device.type == "meta":  # memory is being estimated
                return real(network, x)
            self.sizes.append(x.shape[-2] * x.shape[-1])
            return instead(lambda y: real(network, y), x)

        monkeypatch.setattr(SPAN, "forward", forward)
        monkeypatch.setattr(sys.modules["span_arch.engine.select"], "plan_for", lambda model: None)


@pytest.mark.parametrize("of_model", [1, 3, 4])
@pytest.mark.parametrize("of_image", [1, 3, 4])
def test_every_image_goes_through_every_network(of_image: int, of_model: int) -> None:
    result = span_arch.upscale(model(of_model), image(channels=of_image, frames=2), span_arch.Settings(tile=32))
    assert result.shape == (2, 120, 180, of_image)
    assert result.dtype is torch.float32
    assert 0 <= float(result.min()) <= float(result.max()) <= 1


def test_the_colours_of_an_opaque_picture_are_those_of_the_picture_without_alpha() -> None:
    picture = image()
    result = span_arch.upscale(model(), torch.cat([picture, torch.ones(1, 60, 90, 1)], -1))
    assert torch.equal(result[..., :3], span_arch.upscale(model(), picture))
    assert bool((result[..., 3] == 1).all())


def test_alpha_is_resized() -> None:
    picture = image(channels=4)
    picture[..., 3] = 0
    picture[:, :, 45:, 3] = 1
    alpha = span_arch.upscale(model(), picture)[..., 3]
    assert bool((alpha[:, :, :80] == 0).all())
    assert bool((alpha[:, :, 100:] > 0.999999).all())


def test_grey_stays_grey_in_a_grey_network_and_colours_are_kept_apart() -> None:
    picture = image()
    result = span_arch.upscale(model(1), picture)
    for channel in range(3):
        alone = span_arch.upscale(model(1), picture[..., channel : channel + 1])
        torch.testing.assert_close(result[..., channel : channel + 1], alone, atol=1e-5, rtol=0)


def test_an_image_of_any_floating_type_and_layout() -> None:
    picture = image()
    strided = picture.movedim(-1, 1).contiguous().movedim(1, -1)
    expected = span_arch.upscale(model(), picture)
    torch.testing.assert_close(span_arch.upscale(model(), strided), expected, atol=1e-5, rtol=0)
    half = span_arch.upscale(model(), picture.half())
    assert half.dtype is torch.float32
    torch.testing.assert_close(half, expected, atol=1e-2, rtol=0)


def test_the_caller_can_say_where_the_result_goes() -> None:
    result = span_arch.upscale(
        model(), image(), context=span_arch.Context(allocate=lambda shape: torch.empty(tuple(shape), dtype=torch.float16))
    )
    assert result.dtype is torch.float16


def test_progress_goes_from_none_to_all() -> None:
    told: list[tuple[int, int]] = []
    span_arch.upscale(
        model(), image(frames=2), span_arch.Settings(tile=32), span_arch.Context(progress=lambda done, total: told.append((done, total)))
    )
    assert told[0] == (0, 2 * 60 * 90)
    assert told[-1] == (2 * 60 * 90, 2 * 60 * 90)
    assert told == sorted(told)
    assert len(told) == 2 * 2 * 3 + 1


@pytest.mark.parametrize("limit", [6000, 3000, 1500])
def test_memory_that_runs_out_is_answered_by_smaller_tiles(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    network, picture = model(), image(120, 130)
    expected = span_arch.upscale(network, picture, span_arch.Settings(tile=64))

    def scarce(real: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        if x.shape[-2] * x.shape[-1] > limit:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return real(x)

    patched = Patched(monkeypatch, scarce)
    torch.testing.assert_close(span_arch.upscale(network, picture), expected, atol=1e-4, rtol=0)
    failed = [size for size in patched.sizes if size > limit]
    assert failed == sorted(failed, reverse=True)
    assert len(failed) == len(set(failed))  # what does not fit is not tried again


def test_only_the_failed_tile_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    network, picture, failures = model(), image(64, 256), [1]
    expected = span_arch.upscale(network, picture, span_arch.Settings(tile=64))

    def once(real: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        if len(patched.sizes) == 3 and failures:
            failures.pop()
            raise MemoryError
        return real(x)

    patched = Patched(monkeypatch, once)
    told: list[int] = []
    result = span_arch.upscale(
        network, picture, span_arch.Settings(tile=64), span_arch.Context(progress=lambda done, total: told.append(done))
    )
    torch.testing.assert_close(result, expected, atol=1e-4, rtol=0)
    assert max(patched.sizes[3:]) <= patched.sizes[2] / 2
    assert told == sorted(told)
    assert told[3] == 2 * 64 * 64  # when the third tile is tried again, the first two are still done


def test_no_memory_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(real: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    network = model()
    Patched(monkeypatch, never)
    with pytest.raises(errors.OutOfMemoryError, match="not enough memory"):
        span_arch.upscale(network, image())


def test_other_errors_of_torch_are_not_taken_for_a_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(real: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    network = model()
    patched = Patched(monkeypatch, fails)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        span_arch.upscale(network, image())
    assert len(patched.sizes) == 1


def test_nan_in_half_precision_is_done_again_in_float32_and_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    network, picture = model(), image()
    expected = span_arch.upscale(network, picture, span_arch.Settings(tile=32, precision="float32"))

    def overflows(real: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        return real(x) if x.dtype is torch.float32 else torch.full_like(real(x), torch.nan)

    Patched(monkeypatch, overflows)
    with caplog.at_level(logging.WARNING):
        torch.testing.assert_close(
            span_arch.upscale(network, picture, span_arch.Settings(tile=32, precision="bfloat16")), expected, atol=1e-4, rtol=0
        )
    assert [record.getMessage()[:20] for record in caplog.records] == ["6 tiles came out as "]


def test_nan_in_float32_is_an_error_and_never_a_black_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    network = model()
    Patched(monkeypatch, lambda real, x: real(x) * torch.inf)
    with pytest.raises(errors.NotFiniteError, match="NaN or infinity"):
        span_arch.upscale(network, image())


@pytest.mark.parametrize("fault", ["none", "cancelled", "memory", "NaN"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_model_and_the_image_are_left_as_they_were(monkeypatch: pytest.MonkeyPatch, fault: str, precision: str) -> None:
    network, picture = model(), image()
    network.model.train()
    before = {key: tensor.clone() for key, tensor in network.model.state_dict().items()}
    addresses = [parameter.data_ptr() for parameter in network.model.parameters()]
    shown = picture.clone()

    def cancel(done: int, total: int) -> None:
        if done and fault == "cancelled":
            raise Stop

    def fails(real: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        if fault == "memory":
            raise MemoryError
        return real(x) * (torch.nan if fault == "NaN" else 1)

    Patched(monkeypatch, fails)
    expected = {"cancelled": Stop, "memory": errors.OutOfMemoryError, "NaN": errors.NotFiniteError}.get(fault)
    if expected is None:
        span_arch.upscale(network, picture, span_arch.Settings(tile=32, precision=precision))
    else:
        with pytest.raises(expected):
            span_arch.upscale(network, picture, span_arch.Settings(tile=32, precision=precision), span_arch.Context(progress=cancel))
    assert network.model.training
    assert [parameter.data_ptr() for parameter in network.model.parameters()] == addresses
    assert all(torch.equal(tensor, before[key]) and tensor.dtype is before[key].dtype for key, tensor in network.model.state_dict().items())
    assert torch.equal(picture, shown)


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
        (torch.full((1, 4, 4, 3), torch.nan), "48 values that are NaN"),
        (torch.full((1, 4, 4, 3), torch.inf), "infinite"),
    ],
)
def test_a_bad_image_is_told_why(bad: Tensor, words: str) -> None:
    with pytest.raises(errors.ImageError, match=words):
        span_arch.upscale(model(), bad)


@pytest.mark.parametrize("setting", [{"tile": 0}, {"tile": -4}, {"precision": "float8"}])
def test_a_setting_out_of_range_is_an_error(setting: dict[str, object]) -> None:
    with pytest.raises(errors.OptionError, match="expected"):
        span_arch.upscale(model(), image(), **setting)


def test_a_span_of_another_loader_is_fused_on_its_way(tmp_path) -> None:
    torch.manual_seed(0)
    ours = span_arch.from_state_dict(SPAN(feature_channels=8, scale=2).state_dict())
    span_arch.save(ours, tmp_path / "training.pth", form="training")
    theirs = ModelLoader().load_from_file(tmp_path / "training.pth")
    assert isinstance(adopt(theirs), FamilyModel)
    assert adopt(ours) is ours
    torch.testing.assert_close(span_arch.upscale(theirs, image()), span_arch.upscale(ours, image()), atol=1e-4, rtol=0)


def test_a_span_of_another_loader_is_fused_once_and_again_when_its_weights_have_changed(tmp_path) -> None:
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


def test_the_memory_of_a_network_is_known_before_it_runs() -> None:
    need = footprint(span_arch.load("spanx4_ch48"))
    activation = 48 * 4  # bytes of a feature map, per pixel
    assert need.activation == activation
    assert 8 * activation <= need.peak <= 16 * activation


def test_tiles_keep_to_the_memory_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    network, wanted = model(), list[int]()
    need = footprint(network).peak

    def room(bytes_wanted: int) -> int:
        wanted.append(bytes_wanted)
        return int(need * 3000)

    span_arch.upscale(network, image(8, 8), span_arch.Settings(tile=8))  # from here on it is known how far the network sees
    patched = Patched(monkeypatch, lambda real, x: real(x))
    span_arch.upscale(network, image(150, 150), context=span_arch.Context(room=room))
    assert len(wanted) == 1
    assert wanted[0] >= need * 150 * 150
    assert max(patched.sizes) <= 3000


def test_a_result_that_does_not_fit_is_told_in_gigabytes() -> None:
    def full(shape: Sequence[int]) -> Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(errors.OutOfMemoryError, match=r"3 images of 4000x2000 pixels take 0\.3 GB"):
        span_arch.upscale(model(), torch.zeros(1, 1, 1, 3).expand(3, 1000, 2000, 3), context=span_arch.Context(allocate=full))


@pytest.mark.parametrize("tile", [None, 32])
def test_no_copy_of_the_network_outlives_its_use(tile: int | None) -> None:
    network = model()
    gc.disable()
    try:
        span_arch.upscale(network, image(), span_arch.Settings(tile=tile))
        before = sum(type(thing) in (SPAN, Stream) for thing in gc.get_objects())
        span_arch.upscale(network, image(), span_arch.Settings(tile=tile))
        assert sum(type(thing) in (SPAN, Stream) for thing in gc.get_objects()) == before
    finally:
        gc.enable()
