"""The normalisation of a network: set by the caller, stated in the file, or measured."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

import span_arch
from span_arch.archs.normalisation import IDENTITY, IMAGENET, KNOWN, PAPER, Normalisation, parse_normalisation
from span_arch.archs.span import SPAN
from span_arch.archs.spanf import SPANF
from span_arch.errors import OptionError, WeightsError

from .. import samples

NETWORKS = ("spanx2_ch48", "spanx2_ch52", "spanx4_ch48", "spanx4_ch52", "2xHFA2kSPAN_27k", "2x_span_anime_pretrain", "4xSPANkendata",
            "ClearReality4x")  # fmt: skip


HALF = (0.5, 0.5, 0.5)
SETTINGS = [
    PAPER,
    Normalisation(PAPER.mean, 1),
    Normalisation(HALF, 1),
    Normalisation(HALF, 255),
    IMAGENET,
    IDENTITY,
    Normalisation(IMAGENET.mean, 255),
    Normalisation((0.406, 0.456, 0.485), 1),
    Normalisation(HALF, 2),
    Normalisation((0.45, 0.43, 0.40), 255),
    Normalisation((0.4, 0.5, 0.3), 100),
]


@functools.cache
def builtin(name: str) -> dict[str, Tensor]:
    return span_arch.load(name).model.state_dict()


def rewritten(state: dict[str, Tensor], to: Normalisation, was: Normalisation = PAPER) -> dict[str, Tensor]:
    """Return the weights of the same network with another normalisation, apart from the border, where zeros are padded."""
    weight, bias = state["conv_1.eval_conv.weight"].double(), state["conv_1.eval_conv.bias"].double()
    shift = (torch.tensor(to.mean, dtype=torch.double) - torch.tensor(was.mean, dtype=torch.double)) * was.range
    changed = {"conv_1.eval_conv.weight": weight * (was.range / to.range), "conv_1.eval_conv.bias": bias + weight.sum((2, 3)) @ shift}
    return {**state, **{key: tensor.float() for key, tensor in changed.items()}}


def recoloured(state: dict[str, Tensor], colours: Tensor, offset: float) -> dict[str, Tensor]:
    """Return the weights of a network that transforms the colours of its result by a matrix and an offset."""
    weight, bias = state["upsampler.0.weight"], state["upsampler.0.bias"]
    changed = torch.einsum("ij,jn...->in...", colours, weight.unflatten(0, (3, -1))).flatten(0, 1)
    return {**state, "upsampler.0.weight": changed, "upsampler.0.bias": (colours @ bias.view(3, -1)).flatten() + offset}


def rescaled(state: dict[str, Tensor], scale: int) -> dict[str, Tensor]:
    """Return the weights of a network that gives the result of another one at another scale."""

    def resize(tensor: Tensor) -> Tensor:
        side = round((len(tensor) / 3) ** 0.5)
        pixels = tensor.reshape(3, side, side, -1).permute(0, 3, 1, 2)
        return F.interpolate(pixels, size=(scale, scale), mode="area").permute(0, 2, 3, 1).reshape(-1, *tensor.shape[1:])

    return {**state, **{key: resize(state[key]) for key in ("upsampler.0.weight", "upsampler.0.bias")}}


def pixels(file: Path, side: int) -> Tensor:
    image = torch.from_numpy(np.array(Image.open(file).convert("RGB"))).movedim(-1, 0)[None] / 255
    return image[:, :, :side, :side]


def pair(folder: Path, name: str) -> Path:
    return next(folder.glob(f"*models/{name}.param"))


@pytest.mark.parametrize("name", NETWORKS)
def test_measured_normalisation_equals_the_one_stated_in_the_graph(name: str, ncnn_folder: Path, tmp_path: Path) -> None:
    stated = span_arch.load(pair(ncnn_folder, name))
    torch.save(stated.model.state_dict(), tmp_path / "bare.pth")
    measured = span_arch.load(tmp_path / "bare.pth")
    assert stated.normalisation_known == "stated in the graph"
    assert measured.normalisation_known.startswith("measured: ")
    assert measured.normalisation == stated.normalisation == (IMAGENET if "kendata" in name else PAPER)


@pytest.mark.parametrize("name", NETWORKS)
def test_no_normalisation_is_measured_for_a_network_that_takes_plain_images(name: str, ncnn_folder: Path) -> None:
    model = span_arch.load(pair(ncnn_folder, name))
    found = span_arch.from_state_dict(rewritten(model.model.state_dict(), IDENTITY, model.normalisation))
    assert (found.normalisation, found.normalisation_doubtful) == (None, False)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", span_arch.builtin_names())
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_any_normalisation_is_found_well_enough_for_the_same_psnr(name: str, setting: Normalisation, data: Path) -> None:
    original, found = span_arch.load(name), span_arch.from_state_dict(rewritten(builtin(name), setting))
    scale, border = original.scale, 22  # the receptive field, where padding shows
    assert not found.normalisation_doubtful
    for number in (2, 4):  # the most colourful
        folder = data / "Set5" / f"x{scale}"
        low, high = pixels(folder / f"img_00{number}_LR.png", 64), pixels(folder / f"img_00{number}_HR.png", 64 * scale)
        cut = slice(border * scale, -border * scale)
        expected, psnr = (
            float(-10 * torch.log10((model.model(low) - high)[:, :, cut, cut].square().mean())) for model in (original, found)
        )
        assert psnr == pytest.approx(expected, abs=0.1)


@pytest.mark.usefixtures("one_thread")
@settings(max_examples=15)
@given(mean=st.tuples(*3 * [st.floats(0.2, 0.7)]), span=st.floats(-1, 3).map(lambda power: 10**power))
def test_an_unknown_mean_and_range_are_solved_for(mean: tuple[float, float, float], span: float) -> None:
    found = span_arch.from_state_dict(rewritten(builtin("spanx2_ch48"), Normalisation(mean, span)))
    assert not found.normalisation_doubtful
    normalisation = found.normalisation or IDENTITY
    assert normalisation.mean == pytest.approx(mean, abs=0.002)
    assert normalisation.range == pytest.approx(span, rel=0.005)  # a usual range nearby is taken instead


@pytest.mark.parametrize("span", [255, 1])
def test_a_usual_range_stays_exact_beside_an_unknown_mean(span: float) -> None:
    found = span_arch.from_state_dict(rewritten(builtin("spanx4_ch52"), Normalisation((0.3, 0.6, 0.2), span)))
    assert found.normalisation_known.startswith("solved: ")
    assert found.normalisation.range == span


@pytest.mark.parametrize("setting", SETTINGS[:7], ids=str)
@pytest.mark.parametrize("scale", [1, 2, 3, 8])
def test_the_normalisation_of_every_scale_is_measured(scale: int, setting: Normalisation) -> None:
    found = span_arch.from_state_dict(rewritten(rescaled(builtin("spanx4_ch48"), scale), setting))
    assert (found.scale, found.normalisation or IDENTITY, found.normalisation_doubtful) == (scale, setting, False)


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize(
    ("colours", "offset"),
    [(torch.zeros(3, 3), 0.5), (-torch.eye(3), 1), (torch.full((3, 3), 1 / 3), 0), (torch.eye(3).roll(1, 0), 0)],
    ids=["one colour", "negative", "grey", "other channels"],
)
def test_a_network_that_gives_other_colours_gets_a_known_normalisation_and_a_warning(
    colours: Tensor, offset: float, setting: Normalisation
) -> None:
    found = span_arch.from_state_dict(recoloured(rewritten(builtin("spanx2_ch48"), setting), colours, offset))
    assert found.normalisation_doubtful
    assert (found.normalisation or IDENTITY) in KNOWN


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (3,)], ids=str)
@pytest.mark.parametrize("span", [255, 1, 40])
def test_a_stated_mean_decides_and_the_range_is_measured(shape: tuple[int, ...], span: float) -> None:
    setting = Normalisation((0.4, 0.5, 0.3), span)
    mean = torch.tensor(setting.mean).reshape(shape)
    found = span_arch.from_state_dict({**rewritten(builtin("spanx2_ch48"), setting), "mean": mean})
    assert found.normalisation_known.startswith("the file has the key 'mean'; range ")
    assert not found.normalisation_doubtful
    assert found.normalisation.mean == setting.mean
    assert found.normalisation.range == pytest.approx(span, rel=0.002)


def test_a_stated_mean_of_zero_is_no_normalisation() -> None:
    state = {**rewritten(builtin("spanx2_ch48"), IDENTITY), "mean": torch.zeros(1, 3, 1, 1)}
    assert span_arch.from_state_dict(state).normalisation is None


def test_a_stated_mean_that_does_not_fit_is_kept_with_a_warning() -> None:
    found = span_arch.from_state_dict({**builtin("spanx2_ch48"), "mean": torch.tensor([0.1, 0.9, 0.1])})
    assert (found.normalisation, found.normalisation_doubtful) == (Normalisation((0.1, 0.9, 0.1), 255), True)


@pytest.mark.parametrize("mean", [torch.zeros(1, 4, 1, 1), torch.full((3,), torch.nan)], ids=["shape", "NaN"])
def test_a_faulty_mean_is_an_error(mean: Tensor) -> None:
    with pytest.raises(WeightsError, match="mean"):
        span_arch.from_state_dict({**builtin("spanx2_ch48"), "mean": mean})


@pytest.mark.parametrize("choice", ["none", PAPER])
def test_the_callers_choice_comes_before_a_stated_mean(choice: Any) -> None:
    found = span_arch.from_state_dict({**builtin("spanx2_ch48"), "mean": torch.zeros(3)}, normalise=choice)
    assert found.normalisation == (None if choice == "none" else choice)


def test_the_key_no_norm_means_no_normalisation() -> None:
    model = span_arch.from_state_dict({**builtin("spanx2_ch48"), "no_norm": torch.zeros(1), "mean": torch.zeros(3)})
    assert (model.normalisation, model.normalisation_known) == (None, "the file has the key 'no_norm'")


@pytest.mark.parametrize("gain", [0, 1, 1e30], ids=["zeros", "random", "exploding"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_papers_normalisation_is_assumed_for_untrained_weights(channels: int, gain: float) -> None:
    torch.manual_seed(0)
    network = SPAN(out_channels=channels, feature_channels=4, blocks=2, scale=2)
    model = span_arch.from_state_dict({key: tensor * gain for key, tensor in network.state_dict().items()})
    assert model.normalisation_doubtful
    assert model.normalisation == PAPER
    assert model.normalisation_known.startswith("assumed: ")


def test_a_doubtful_normalisation_is_warned_of_everywhere(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    state, reports = SPAN(feature_channels=4, blocks=2, scale=2).state_dict(), []
    with caplog.at_level(logging.WARNING):
        model = span_arch.from_state_dict(state)
    assert model.normalisation_doubtful
    assert "colours of this network may be wrong" in model.warning
    assert "is used with (x - (0.4488, 0.4371, 0.404)) * 255. If the colours are wrong, choose another normalisation" in model.warning
    assert caplog.messages == [model.warning]
    assert f"warning:          {model.warning}" in str(span_arch.describe(model)).splitlines()
    span_arch.upscale(model, samples.image(8, 9), context=span_arch.Context(report=reports.append))
    assert str(reports[0]).endswith(f" {model.warning}")


def test_a_certain_normalisation_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    model = span_arch.from_state_dict(builtin("spanx2_ch48"))
    assert (model.warning, caplog.messages) == ("", [])
    assert "warning" not in str(span_arch.describe(model))
    assert span_arch.from_state_dict(SPAN(feature_channels=4, blocks=2).state_dict(), normalise=PAPER).warning == ""


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("paper", PAPER),
        ("imagenet", IMAGENET),
        ("none", None),
        (None, None),
        (((0.485, 0.456, 0.406), 1), IMAGENET),
        ([[0.1, 0.2, 0.3], 2], Normalisation((0.1, 0.2, 0.3), 2.0)),
        ("0.4488 0.4371 0.404 255", PAPER),
        ("0.4488, 0.4371, 0.404, 255", PAPER),
        (PAPER, PAPER),
    ],
    ids=str,
)
def test_the_callers_normalisation_overrides_the_files(choice: Any, expected: Normalisation | None) -> None:
    model = span_arch.load("spanx2_ch48", normalise=choice)
    assert (model.normalisation, model.normalisation_known) == (expected, "set by the caller")


@pytest.mark.parametrize(
    "choice", ["papers", "1 2 3", "a b c d", ((1, 2), 3), (1, 2), 7, "0.4 0.4 0.4 0", "nan 0 0 1", "0 0 0 inf"], ids=str
)
def test_an_invalid_normalisation_is_an_error(choice: Any) -> None:
    with pytest.raises(OptionError, match=r"The normalisation .* is (unknown|out of range)\. Expected"):
        parse_normalisation(choice)


def test_other_architectures_never_normalise() -> None:
    state = SPANF(feature_channels=8, blocks=2, scale=2).state_dict()
    assert span_arch.from_state_dict(state).normalisation_known == "SPANF never normalises"
    assert span_arch.from_state_dict(state, normalise="none").normalisation is None
    with pytest.raises(OptionError, match="does not apply: SPANF networks take images as they are"):
        span_arch.from_state_dict(state, normalise="paper")


def test_a_grey_network_without_no_norm_needs_the_callers_word() -> None:
    state = SPAN(in_channels=1, out_channels=1, feature_channels=4, blocks=2, normalisation=None).state_dict()
    del state["no_norm"]
    with pytest.raises(WeightsError, match="images with 1 channel, but normalisation needs R, G and B"):
        span_arch.from_state_dict(state)
    assert span_arch.from_state_dict(state, normalise="none").normalisation is None
    with pytest.raises(WeightsError, match="normalisation needs R, G and B"):
        span_arch.from_state_dict(state, normalise="paper")
