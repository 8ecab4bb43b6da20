"""Conversion between samples and RGB."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from span_arch.errors import VideoError
from span_arch.video import copy_video
from span_arch.video.colour import Colour, resolve, to_image, to_planes

from .films import FFV1, HEIGHT, WIDTH, av, collecting, layout_named, noise, view

NAMES = [
    *(f"yuv{sampling}p{depth}" for sampling in (420, 422, 444, 440) for depth in ("", "10le", "12le")),
    *("yuv420p16le", "yuv411p", "yuv410p", "yuva420p", "yuva444p10le", "gbrp", "gbrap", "gbrp10le", "gray", "gray16le"),
]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 5, 6, 7, 9])
@pytest.mark.parametrize("name", NAMES)
def test_all_samples_survive_conversion_to_rgb_and_back(name: str, matrix: int, full: bool) -> None:
    layout, colour = layout_named(name), Colour(matrix, full)
    planes = [torch.from_numpy(plane.astype(np.float32)) for plane in noise(layout, 1, 23, 17)]
    for found, expected in zip(to_planes(to_image(planes, layout, colour), layout, colour), planes, strict=True):
        assert torch.equal(found, expected)


WEIGHTS = {6: (0.299, 0.114), 1: (0.2126, 0.0722), 9: (0.2627, 0.0593)}


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", WEIGHTS)
def test_a_colour_chart_is_decoded_by_the_itu_recommendations(tmp_path: Path, matrix: int, full: bool, depth: int) -> None:
    red, blue = WEIGHTS[matrix]
    rgb = np.stack(np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT), indexing="xy"), 2)
    rgb = np.concatenate((rgb, 1 - rgb[:, :, :1] * rgb[:, :, 1:]), 2)
    luma = rgb @ (red, 1 - red - blue, blue)
    chroma = (rgb[:, :, 2] - luma) / (2 - 2 * blue), (rgb[:, :, 0] - luma) / (2 - 2 * red)
    peak, unit = 2**depth - 1, 2 ** (depth - 8)
    scales = ((peak, 0), (peak, 128 * unit)) if full else ((219 * unit, 16 * unit), (224 * unit, 128 * unit))
    samples = [np.round(part * scales[i > 0][0] + scales[i > 0][1]).clip(0, peak) for i, part in enumerate((luma, *chroma))]
    name = "yuv444p" if depth == 8 else "yuv444p10le"
    with av.open(str(tmp_path / "chart.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, name
        context.colorspace, context.color_range = matrix, 2 if full else 1
        frame = av.VideoFrame(WIDTH, HEIGHT, name)
        for plane, part in enumerate(samples):
            view(frame, plane, layout_named(name))[:] = part
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    images: list[Tensor] = []
    copy_video(tmp_path / "chart.mkv", tmp_path / "again.mkv", collecting(images), FFV1)
    y, u, v = ((part - scales[i > 0][1]) / scales[i > 0][0] for i, part in enumerate(samples))
    expected_red, expected_blue = y + (2 - 2 * red) * v, y + (2 - 2 * blue) * u
    expected_green = (y - red * expected_red - blue * expected_blue) / (1 - red - blue)
    expected = np.stack((expected_red, expected_green, expected_blue), 2)
    assert np.abs(images[0].numpy() - expected).max() < 1e-5
    assert np.abs(expected - rgb).max() < 2 / (219 * unit)  # the rounding of the chart itself


def test_untagged_colours_follow_the_usual_rules() -> None:
    yuv, grey, rgb = layout_named("yuv420p"), layout_named("gray"), layout_named("gbrp")

    def matrix(width: int, height: int) -> int:
        return resolve(yuv, 2, 0, 2, 2, width=width, height=height).matrix

    assert [matrix(640, 480), matrix(1024, 576), matrix(1280, 720), matrix(1080, 608), matrix(720, 1280)] == [6, 6, 1, 1, 1]
    assert not resolve(yuv, 1, 0, 2, 2, width=8, height=8).full
    assert resolve(layout_named("yuvj420p"), 1, 0, 2, 2, width=8, height=8).full
    assert resolve(grey, 2, 0, 2, 2, width=8, height=8).full
    assert resolve(rgb, 1, 1, 2, 2, width=8, height=8) == Colour(0, True)


def test_an_unsupported_matrix_is_reported() -> None:
    with pytest.raises(VideoError, match="number 14 of ITU-T"):
        resolve(layout_named("yuv420p"), 14, 1, 2, 2, width=8, height=8)
