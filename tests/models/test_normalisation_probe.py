"""What a network does to its image first: stated by the file, asked of the network, or said by the caller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import span_arch
from span_arch.archs.normalisation import IMAGENET, PAPER, Normalisation, wished
from span_arch.archs.span import SPAN
from span_arch.archs.spanf import SPANF
from span_arch.errors import OptionError, WeightsError

NETWORKS = ("spanx2_ch48", "spanx2_ch52", "spanx4_ch48", "spanx4_ch52", "2xHFA2kSPAN_27k", "2x_span_anime_pretrain", "4xSPANkendata",
            "ClearReality4x")  # fmt: skip


def pair(folder: Path, name: str) -> Path:
    return next(folder.glob(f"*models/{name}.param"))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_itself_tells_what_its_graph_states(name: str, ncnn_folder: Path, tmp_path: Path) -> None:
    truth = span_arch.load(pair(ncnn_folder, name))
    torch.save(truth.model.state_dict(), tmp_path / "bare.pth")
    found = span_arch.load(tmp_path / "bare.pth")
    assert truth.normalisation_known == "stated in the graph"
    assert found.normalisation_known.startswith("found by a probe")
    assert found.normalisation == truth.normalisation == (IMAGENET if "kendata" in name else PAPER)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_that_takes_plain_images_tells_that_too(name: str, ncnn_folder: Path) -> None:
    # The same network with its normalisation within its first convolution, as training without one would have put it
    truth = span_arch.load(pair(ncnn_folder, name))
    state = dict(truth.model.state_dict())
    setting = truth.normalisation
    weight = state["conv_1.eval_conv.weight"] * setting.range
    state["conv_1.eval_conv.bias"] = state["conv_1.eval_conv.bias"] - weight.sum((2, 3)) @ torch.tensor(setting.mean)
    state["conv_1.eval_conv.weight"] = weight
    assert span_arch.from_state_dict(state).normalisation is None


def test_the_key_no_norm_is_believed() -> None:
    model = span_arch.from_state_dict({**span_arch.load("spanx2_ch48").model.state_dict(), "no_norm": torch.zeros(1)})
    assert (model.normalisation, model.normalisation_known) == (None, "the file has the key 'no_norm'")


def test_weights_that_were_never_trained_are_taken_for_the_papers_and_it_is_said() -> None:
    torch.manual_seed(0)
    model = span_arch.from_state_dict(SPAN(feature_channels=4, blocks=2, scale=2).state_dict())
    assert model.normalisation == PAPER
    assert "did not tell" in model.normalisation_known


@pytest.mark.parametrize(
    ("wish", "meaning"),
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
def test_what_the_caller_says_counts(wish: Any, meaning: Normalisation | None) -> None:
    model = span_arch.load("spanx2_ch48", normalise=wish)
    assert (model.normalisation, model.normalisation_known) == (meaning, "as asked for")


@pytest.mark.parametrize("wish", ["papers", "1 2 3", "a b c d", ((1, 2), 3), (1, 2), 7, "0.4 0.4 0.4 0", "nan 0 0 1", "0 0 0 inf"], ids=str)
def test_a_wish_that_makes_no_sense_is_told_so(wish: Any) -> None:
    with pytest.raises(OptionError, match="normalisation"):
        wished(wish)


def test_other_architectures_take_the_image_as_it_is() -> None:
    state = SPANF(feature_channels=8, blocks=2, scale=2).state_dict()
    assert span_arch.from_state_dict(state).normalisation_known == "no SPANF has one"
    assert span_arch.from_state_dict(state, normalise="none").normalisation is None
    with pytest.raises(OptionError, match="SPANF"):
        span_arch.from_state_dict(state, normalise="paper")


def test_a_grey_network_has_to_be_told() -> None:
    state = SPAN(in_channels=1, out_channels=1, feature_channels=4, blocks=2, normalisation=None).state_dict()
    del state["no_norm"]
    with pytest.raises(WeightsError, match="R, G and B only"):
        span_arch.from_state_dict(state)
    assert span_arch.from_state_dict(state, normalise="none").normalisation is None
    with pytest.raises(WeightsError, match="R, G and B only"):
        span_arch.from_state_dict(state, normalise="paper")
