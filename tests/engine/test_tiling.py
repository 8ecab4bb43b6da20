"""The geometry of tiles, by property, and results without seams."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from spandrel import ImageModelDescriptor
from torch import Tensor, nn

import span_arch
from span_arch.archs.span import SPAN
from span_arch.engine.tiling import Halo, Tile, by_area, by_side, cut, levelled, ramp_weights
from span_arch.models.build import FamilyModel
from span_arch.streaming.receptive_field import find_receptive_field

lengths = st.integers(1, 700)
halos = st.builds(Halo, width=st.integers(0, 40), ramp=st.sampled_from([0, 0, 8, 32]), unit=st.sampled_from([1, 1, 2, 4, 7]))


def check(tiles: list[Tile], height: int, width: int, halo: Halo) -> None:
    assert sum(tile.core_pixels for tile in tiles) == height * width
    for tile in tiles:
        for axis, length in ((tile.rows, height), (tile.columns, width)):
            assert axis.read[0] <= axis.kept[0] <= axis.core[0] < axis.core[1] <= axis.kept[1] <= axis.read[1]
            assert axis.read[0] % halo.unit == 0
            assert axis.kept[0] - axis.read[0] >= halo.width or axis.read[0] == 0
            assert axis.read[1] - axis.kept[1] >= halo.width or axis.read[1] == length


@given(lengths, lengths, st.integers(1, 400), halos)
def test_tiles_of_a_side_cover_the_image_once_and_read_their_halo(height: int, width: int, side: int, halo: Halo) -> None:
    tiles = by_side(height, width, side, halo)
    check(tiles, height, width, halo)
    longest = max(max(t.rows.core[1] - t.rows.core[0], t.columns.core[1] - t.columns.core[0]) for t in tiles)
    assert longest <= max(side, 2 * (halo.ramp + halo.unit)) + halo.unit - 1


@given(lengths, lengths, st.integers(1, 400), st.builds(Halo, width=st.integers(0, 40), ramp=st.sampled_from([0, 8, 32])))
def test_levelled_tiles_read_equally_much(height: int, width: int, side: int, halo: Halo) -> None:
    tiles = by_side(height, width, side, halo)
    found = levelled(tiles, height, width)
    check(found, height, width, halo)
    assert len({(tile.rows.length, tile.columns.length) for tile in found}) == 1
    assert [(tile.rows.kept, tile.columns.kept) for tile in found] == [(tile.rows.kept, tile.columns.kept) for tile in tiles]


@given(lengths, lengths, st.integers(100, 300_000), halos)
def test_tiles_of_an_area_stay_within_it(height: int, width: int, pixels: int, halo: Halo) -> None:
    tiles = by_area(height, width, pixels, halo)
    check(tiles, height, width, halo)
    if (2 * halo.margin + 2 * halo.ramp + 5 * halo.unit) ** 2 <= pixels:
        assert max(tile.rows.length * tile.columns.length for tile in tiles) <= pixels


@given(lengths, st.integers(1, 12), st.sampled_from([0, 2, 8, 32]), st.integers(1, 3))
def test_weights_of_blended_tiles_add_up_to_one(length: int, parts: int, ramp: int, scale: int) -> None:
    halo = Halo(width=3, ramp=ramp)
    parts = min(parts, max(1, length // max(1, 2 * ramp)))
    total = torch.zeros(length * scale)
    for interval in cut(length, parts, halo):
        total[interval.kept[0] * scale : interval.kept[1] * scale] += torch.tensor(ramp_weights(interval, scale))
    torch.testing.assert_close(total, torch.ones_like(total))


def smooth(height: int, width: int, frames: int = 1, channels: int = 3) -> Tensor:
    """Return an image without noise, on which these networks would amplify rounding."""
    torch.manual_seed(height * 1000 + width)
    coarse = torch.rand(frames, channels, height // 8 + 2, width // 8 + 2)
    return F.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1).movedim(1, -1)


def whole(model: FamilyModel, image: Tensor) -> Tensor:
    with torch.no_grad():
        return model.model(image.movedim(-1, 1)).clamp(0, 1).movedim(1, -1)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 200), (200, 1), (2, 3), (97, 150), (101, 33), (500, 41), (64, 64)])
@pytest.mark.parametrize("tile", [None, 16, 37, 128])
def test_tiled_result_equals_untiled(height: int, width: int, tile: int | None) -> None:
    model, image = span_arch.load("spanx2_ch48"), smooth(height, width)
    result = span_arch.upscale(model, image, span_arch.Settings(tile=tile, precision="float32"))
    torch.testing.assert_close(result, whole(model, image), atol=1e-4, rtol=0)


@settings(max_examples=15)
@given(st.integers(1, 120), st.integers(1, 120), st.integers(1, 150))
def test_tile_of_any_side_leaves_no_seam(height: int, width: int, tile: int) -> None:
    model = span_arch.from_state_dict(SPAN(feature_channels=8, blocks=1, scale=2, normalisation=None).state_dict())
    image = smooth(height, width)
    torch.testing.assert_close(
        span_arch.upscale(model, image, span_arch.Settings(tile=max(tile, 8))), whole(model, image), atol=1e-4, rtol=0
    )


def test_batch_equals_its_frames() -> None:
    model, image = span_arch.load("spanx2_ch48"), smooth(40, 50, frames=3)
    singly = torch.cat([span_arch.upscale(model, frame[None], span_arch.Settings(precision="float32")) for frame in image])
    torch.testing.assert_close(span_arch.upscale(model, image, span_arch.Settings(tile=24)), singly, atol=1e-4, rtol=0)


class Brightness(nn.Module):
    """A network that sees the whole image: it doubles the size and mixes in a little of the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor(0.1))

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x * (1 - self.share) + self.share * x.mean((2, 3), keepdim=True), scale_factor=2, mode="nearest")


def test_network_that_sees_everything_is_blended() -> None:
    network = Brightness()
    model = ImageModelDescriptor(
        network, network.state_dict(), span_arch.load("spanx2_ch48").architecture, "SR", [], True, True, 2, 3, 3
    )  # fmt: skip
    assert find_receptive_field(network) is None
    image = torch.linspace(0, 1, 300).view(1, 1, 300, 1).expand(1, 200, 300, 3)
    result = span_arch.upscale(model, image, span_arch.Settings(tile=100))
    steps = result.diff(dim=2).abs()  # a hard seam would be a step of a tenth of the difference between two means, 0.03
    assert float(steps.max()) < 0.008
