"""The normalisation of a network: set by the caller, stated in the file, or measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import span_arch
from span_arch.archs.normalisation import IMAGENET, PAPER, Normalisation, parse_normalisation
from span_arch.archs.span import SPAN
from span_arch.archs.spanf import SPANF
from span_arch.errors import OptionError, WeightsError

NETWORKS = ("spanx2_ch48", "spanx2_ch52", "spanx4_ch48", "spanx4_ch52", "2xHFA2kSPAN_27k", "2x_span_anime_pretrain", "4xSPANkendata",
            "ClearReality4x")  # fmt: skip


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
    # The normalisation is folded into the first convolution, as if the network had been trained without one
    model = span_arch.load(pair(ncnn_folder, name))
    state = dict(model.model.state_dict())
    weight = state["conv_1.eval_conv.weight"] * model.normalisation.range
    state["conv_1.eval_conv.bias"] = state["conv_1.eval_conv.bias"] - weight.sum((2, 3)) @ torch.tensor(model.normalisation.mean)
    state["conv_1.eval_conv.weight"] = weight
    assert span_arch.from_state_dict(state).normalisation is None


def test_the_key_no_norm_means_no_normalisation() -> None:
    model = span_arch.from_state_dict({**span_arch.load("spanx2_ch48").model.state_dict(), "no_norm": torch.zeros(1)})
    assert (model.normalisation, model.normalisation_known) == (None, "the file has the key 'no_norm'")


def test_the_papers_normalisation_is_assumed_for_untrained_weights() -> None:
    torch.manual_seed(0)
    model = span_arch.from_state_dict(SPAN(feature_channels=4, blocks=2, scale=2).state_dict())
    assert model.normalisation == PAPER
    assert model.normalisation_known.startswith("assumed: ")


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
