"""Results and detection of all architectures, on small networks with random weights."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from spandrel import architectures as spandrel_architectures
from torch import Tensor, fx, nn

import span_arch
from span_arch.archs.blocks import Conv3XC
from span_arch.archs.normalisation import PAPER
from span_arch.archs.registry import FAMILY
from span_arch.archs.reparam import fuse, unfuse
from span_arch.archs.spanplus import DySample
from span_arch.errors import OptionError, UnknownArchitectureError, WeightsError
from span_arch.models.build import FamilyModel, from_state_dict

from ..variants import (
    DSCF,
    ESPAN,
    SPANF,
    SPANF3,
    SPANPLUS,
    SPANV2,
    VARIANTS,
    Variant,
    assert_close,
    every_trained_variant,
    every_variant,
    forms,
    randomise,
    variant,
)

State = dict[str, Tensor]

pytestmark = pytest.mark.usefixtures("one_thread")


# Forms


@every_trained_variant
def test_fused_result_equals_training_form(variant: Variant) -> None:
    training = variant.network(Conv3XC)
    fused = from_state_dict(training.state_dict(), normalise=variant.normalisation, bounded=False).model
    with torch.no_grad():
        assert_close(fused(variant.image()), training(variant.image()))


@pytest.mark.parametrize(
    "variant",
    [
        v for v in VARIANTS if v.record.has_training_form and v.hyperparameters.get("upsampler") != "dys"
    ],  # DySample always samples in float32
    ids=str,
)
def test_forms_differ_by_rounding_only(variant: Variant) -> None:
    training, fused = variant.network(Conv3XC).double(), variant.network().double()
    fused.load_state_dict(fuse(training.state_dict()))
    with torch.no_grad():
        assert_close(fused(variant.image().double()), training(variant.image().double()), tolerance=1e-12)


@every_variant
def test_loaded_state_dict_has_the_published_fused_format(variant: Variant) -> None:
    for form in forms(variant):
        state = variant.network(form).state_dict()
        loaded = from_state_dict(state, normalise=variant.normalisation).model.state_dict()
        assert set(loaded) == set(fuse(state))
        assert not [key for key in loaded if ".sk." in key]


@every_variant
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_weights_load_as_float32(variant: Variant, dtype: torch.dtype) -> None:
    state: State = {key: tensor.to(dtype) for key, tensor in variant.network().state_dict().items()}
    loaded = from_state_dict(state, normalise=variant.normalisation).model
    for key, tensor in loaded.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, state[key].float())
    assert torch.isfinite(loaded(variant.image())).all()


@every_variant
def test_the_forward_pass_can_be_traced(variant: Variant) -> None:
    network = variant.network()
    with torch.no_grad():
        assert torch.equal(fx.symbolic_trace(network)(variant.image()), network(variant.image()))


def test_a_9x9_convolution_has_no_training_form(tmp_path: Path) -> None:
    model = from_state_dict(variant(ESPAN, 3, 8, 1, 2).network().state_dict())
    branched = unfuse(model.model.state_dict())
    assert "conv_1.sk.weight" not in branched
    assert "tea_conv_2.sk.weight" in branched
    with pytest.raises(OptionError, match="ESPAN networks have no training form"):
        span_arch.save(model, tmp_path / "model.safetensors", form="training")


# Detection


def matches(state: State) -> list[str]:
    """Return every architecture whose keys a state dict has."""
    fused = fuse(state)
    return [architecture.name for architecture in FAMILY if not architecture.missing_keys(fused)]


def test_each_network_matches_its_own_architecture_only() -> None:
    confusions = {
        f"{variant} of {form.__name__}": found
        for variant in VARIANTS
        for form in forms(variant)
        if (found := matches(variant.network(form).state_dict())) != [variant.record.name]
    }
    assert not confusions


@every_variant
def test_hyperparameters_are_read_back(variant: Variant) -> None:
    for form in forms(variant):
        model = from_state_dict(variant.network(form).state_dict(), normalise=variant.normalisation)
        assert model.hyperparameters == variant.hyperparameters
        assert model.scale == variant.hyperparameters["scale"]
        assert model.input_channels == variant.hyperparameters["in_channels"]
        assert model.output_channels == variant.hyperparameters["out_channels"]


def test_tags_state_the_size() -> None:
    assert from_state_dict(variant(SPANF, 3, 16, 5, 4).network().state_dict()).tags == ["16nf", "5b"]
    assert from_state_dict(variant(SPANPLUS, 3, 8, (1, 2), 2, upsampler="ps").network().state_dict()).tags == ["8nf", "1+2b"]


@every_variant
def test_a_missing_key_is_reported(variant: Variant) -> None:
    state = variant.network().state_dict()
    for missing in variant.record.keys:
        with pytest.raises(
            UnknownArchitectureError, match=f"closest architecture is {variant.record.name}, but {re.escape(missing)} is missing"
        ):
            from_state_dict({key: tensor for key, tensor in state.items() if key != missing})


def test_the_closest_architecture_has_the_largest_share_of_its_keys() -> None:
    state = {"tea_conv_cat.weight": torch.zeros(8, 32, 1, 1)}  # ESPAN lacks eight more keys, other architectures all six of theirs
    with pytest.raises(UnknownArchitectureError, match="closest architecture is ESPAN"):
        from_state_dict(state)


@pytest.mark.parametrize(
    ("variant", "removed", "message"),
    [
        (variant(SPANPLUS, 3, 8, (1,), 2, upsampler="ps"), "upsampler.", "upsampler of a SPANPlus network is missing"),
        (variant(SPANPLUS, 3, 8, (3,), 2, upsampler="ps"), "feats.1.block_n.1.", r"lacks feats\.1\.block_n\.1\."),
        (variant(SPANPLUS, 3, 8, (1,), 2, upsampler="dys"), "upsampler.init_pos", "upsampler.init_pos is missing"),
        (variant(SPANF3, 3, 8, 1, 2, unshuffle=1), "conv_1.", r"Expected conv_1\.eval_conv\.weight, or conv_1\.1"),
        (variant(SPANF, 3, 8, 4, 2), "block_2.", "lacks block_2.c1_r"),
        (variant(SPANF, 3, 8, 1, 2), "conv_cat.", r"Expected conv_cat\.weight and conv_2\.eval_conv\.weight, or conv_cat_1"),
        (variant(SPANF, 3, 8, 1, 2, ending="_1"), "conv_2_1.", "tail of a SPANF network is missing"),
        (variant(SPANV2, 3, 8, 3, 2), "block_3.guidance_map_conv.", r"block_3\.guidance_map_conv\.weight is missing"),
    ],
    ids=["upsampler", "middle block", "init_pos", "conv_1", "block", "tail", "tail of PDS", "guidance map"],
)
def test_a_missing_part_is_reported(variant: Variant, removed: str, message: str) -> None:
    state: State = {key: tensor for key, tensor in variant.network().state_dict().items() if not key.startswith(removed)}
    with pytest.raises(WeightsError, match=message):
        from_state_dict(state)


@pytest.mark.parametrize(
    ("variant", "key", "channels"),
    [
        (variant(SPANF3, 3, 8, 1, 2, unshuffle=2), "conv_1.1.eval_conv.weight", 27),
        (variant(SPANPLUS, 3, 8, (1,), 2, upsampler="dys"), "upsampler.offset.weight", 30),
        (variant(ESPAN, 3, 8, 1, 2), "tea_upsampler.0.eval_conv.weight", 75),
    ],
    ids=["unshuffle by 3", "30 offsets", "scale 5"],
)
def test_impossible_sizes_are_an_error(variant: Variant, key: str, channels: int) -> None:
    state = variant.network().state_dict()
    weight = state[key]
    state[key] = torch.zeros(weight.shape[0], channels, 3, 3) if "conv_1" in key else torch.zeros(channels, *weight.shape[1:])
    with pytest.raises(WeightsError, match=f"{channels} (channels|offsets)"):
        from_state_dict(state)


def test_a_dscf_always_has_the_papers_normalisation() -> None:
    state = variant(DSCF, 3, 8, 2, 2).network().state_dict()
    model = from_state_dict(state)
    assert (model.normalisation, model.normalisation_known) == (PAPER, "the same in every DSCF network")
    assert from_state_dict(state, normalise="none").normalisation is None


def test_most_architectures_are_never_normalised() -> None:
    state = variant(SPANF, 3, 8, 2, 2).network().state_dict()
    assert from_state_dict(state).normalisation is None
    with pytest.raises(OptionError, match="SPANF"):
        from_state_dict(state, normalise=PAPER)


# Comparison with published checkpoints, other code, and formulas


@pytest.mark.parametrize("name", ["span_ntire2024_ch28", "spanf_ntire2025", "espan_ntire2025", "spanv2_ntire2026", "pds_ntire2026"])
def test_published_checkpoint_reproduces_its_authors_result(name: str, data: Path) -> None:
    model = span_arch.load(data / "checkpoints" / f"{name}.pth", bounded=False)
    pixels = np.asarray(Image.open(data / "Set5" / "x4" / "img_003_LR.png").convert("RGB"), np.float32) / 255
    expected = torch.from_numpy(np.load(data / "reference" / f"{name}.npy"))
    with torch.no_grad():
        found = model.model(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0].permute(1, 2, 0)
    assert (found - expected).abs().max() <= 1e-4


def test_span_equals_spandrels_span() -> None:
    theirs = spandrel_architectures.SPAN.SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2).eval()
    randomise(theirs)
    ours = from_state_dict(theirs.state_dict(), bounded=False)
    image = torch.rand(2, 3, 7, 9)
    with torch.no_grad():
        assert_close(ours.model(image), theirs(image))


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
def test_dysample_equals_spandrels_dysample(scale: int) -> None:
    theirs = spandrel_architectures.MoSR.MoSR(dim=8, n_block=1, upscale=scale, upsampler="dys").upsampler
    ours = DySample(8, 3, scale)
    randomise(theirs)
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(2, 8, 5, 7)
    with torch.no_grad():
        assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("scale", [2, 3])
def test_dysample_is_exact_in_wide_images_in_every_precision(scale: int, dtype: torch.dtype) -> None:
    upsampler = DySample(4, 4, scale)
    nn.init.zeros_(upsampler.offset.weight)  # without an offset it is bilinear interpolation
    nn.init.zeros_(upsampler.offset.bias)
    nn.init.eye_(upsampler.end_conv.weight[:, :, 0, 0])
    nn.init.zeros_(upsampler.end_conv.bias)
    x = torch.rand(1, 4, 2, 3000).to(dtype)
    with torch.no_grad():
        found = upsampler.to(dtype)(x).float()
    expected = F.interpolate(x.float(), scale_factor=scale, mode="bilinear", align_corners=False)
    assert (found - expected).abs().max() <= 1e-3 + torch.finfo(dtype).eps


def conv(state: State, prefix: str, x: Tensor) -> Tensor:
    prefix = prefix if f"{prefix}.weight" in state else f"{prefix}.eval_conv"
    weight = state[f"{prefix}.weight"]
    return F.conv2d(x, weight, state[f"{prefix}.bias"], padding=weight.shape[-1] // 2)


def test_spanplus_equals_its_formula() -> None:
    state = variant(SPANPLUS, 3, 8, (2, 1), 2, upsampler="ps").network().state_dict()

    def spab(prefix: str, x: Tensor) -> tuple[Tensor, Tensor]:
        middle = F.mish(conv(state, f"{prefix}.c1_r", x))
        t = conv(state, f"{prefix}.c3_r", F.mish(conv(state, f"{prefix}.c2_r", middle)))
        return (t + x) * (torch.sigmoid(t) - 0.5), middle

    def spabs(prefix: str, x: Tensor, count: int) -> Tensor:
        last = first = spab(f"{prefix}.block_1", x)[0]
        for i in range(count):
            last = spab(f"{prefix}.block_n.{i}", last)[0]
        last, middle = spab(f"{prefix}.block_end", last)
        return conv(state, f"{prefix}.conv_cat", torch.cat([x, conv(state, f"{prefix}.conv_2", last), first, middle], 1))

    image = torch.rand(1, 3, 5, 7)
    features = spabs("feats.2", spabs("feats.1", conv(state, "feats.0", image), 2), 1)
    assert_close(from_state_dict(state).model(image), F.pixel_shuffle(conv(state, "upsampler.0", features), 2))


def spab(state: State, block: str, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the output and the first activation of a SPAB by its formula."""
    middle = F.silu(conv(state, f"{block}.c1_r", x))
    t = conv(state, f"{block}.c3_r", F.silu(conv(state, f"{block}.c2_r", middle)))
    return (t + x) * (torch.sigmoid(t) - 0.5), middle


@pytest.mark.parametrize(("cat_channels", "ending"), [(8, ""), (5, ""), (5, "_1")], ids=["SPANF", "PKDSR", "PDS"])
def test_spanf_equals_its_formula(cat_channels: int, ending: str) -> None:
    state = variant(SPANF, 3, 8, 3, 2, cat_channels=cat_channels, ending=ending).network().state_dict()
    image = torch.rand(1, 3, 5, 7)
    near = F.conv2d(image, state["conv_near.weight"], padding=1, groups=3)
    x = F.silu(conv(state, "block_1.c1_r", image))
    first = conv(state, "block_1.c3_r", F.silu(conv(state, "block_1.c2_r", x)))
    last, _ = spab(state, "block_3", spab(state, "block_2", first)[0])
    features = conv(state, f"conv_2{ending}", conv(state, f"conv_cat{ending}", torch.cat([near, last, first], 1)))
    assert_close(from_state_dict(state).model(image), F.pixel_shuffle(features, 2))


@pytest.mark.parametrize("bias", [False, True])
def test_spanv2_equals_its_formula(bias: bool) -> None:
    state = variant(SPANV2, 3, 8, 3, 2, bias=bias).network().state_dict()
    assert ("block_2.c3.conv.bias" in state) == ("depthwise_conv.bias" in state) == bias

    def conv(key: str, x: Tensor, groups: int = 1) -> Tensor:
        weight = state[f"{key}.weight"]
        return F.conv2d(x, weight, state.get(f"{key}.bias"), padding=weight.shape[-1] // 2, groups=groups)

    image = x = torch.rand(1, 3, 5, 7)
    for i in (1, 2, 3):
        t = conv(f"block_{i}.c3.conv", F.relu(conv(f"block_{i}.c2.conv", F.relu(conv(f"block_{i}.c1.conv", x)))))
        x = F.relu(t) if i == 1 else (x + t) * conv(f"block_{i}.guidance_map_conv", t)
    both = torch.cat([conv("conv_near", image, 3), x], 1)
    expected = conv("pointwise_conv", conv("depthwise_conv", both, both.shape[1]))
    assert_close(from_state_dict(state).model(image), F.pixel_shuffle(expected, 2))


def test_dscf_equals_its_formula() -> None:
    state = variant(DSCF, 3, 8, 3, 2).network().state_dict()
    image = torch.rand(1, 3, 5, 7)
    x = (image - torch.tensor([0.4488, 0.4371, 0.4040]).view(1, 3, 1, 1)) * 255
    shallow = conv(state, "conv_1", x)
    t = conv(state, "block_1.c3_r", F.silu(conv(state, "block_1.c2_r", F.silu(conv(state, "conv_fused", x)))))
    first = (t + shallow) * (torch.sigmoid(t) - 0.5)
    last, middle = spab(state, "block_3", spab(state, "block_2", first)[0])
    tail = F.conv2d(last, state["conv2_fused.weight"], padding=1)
    features = conv(state, "conv_cat_other", torch.cat([shallow, first, middle], 1)) + tail
    assert_close(from_state_dict(state).model(image), F.pixel_shuffle(conv(state, "upsampler.0", features), 2))


def spanf3_by_formula(state: State, image: Tensor, unshuffle: int) -> Tensor:
    shallow = conv(state, "conv_1.1", F.pixel_unshuffle(image, unshuffle)) if unshuffle > 1 else conv(state, "conv_1", image)
    outputs, middle = [shallow], shallow
    for i in (1, 2, 3):
        x = outputs[-1]
        middle = F.relu(conv(state, f"block_{i}.c1_r", x))
        t = conv(state, f"block_{i}.c3_r", F.relu(conv(state, f"block_{i}.c2_r", middle)))
        outputs.append((x + t) * torch.tanh(conv(state, f"block_{i}.att_conv", t)))
    features = conv(state, "conv_cat", torch.cat([shallow, outputs[3], outputs[1], middle], 1))
    return F.pixel_shuffle(conv(state, "to_pixel", features), 4)


@pytest.mark.parametrize(("scale", "unshuffle"), [(4, 1), (2, 2), (1, 4)])
def test_spanf3_equals_its_formula(scale: int, unshuffle: int) -> None:
    state = variant(SPANF3, 3, 8, 3, scale, unshuffle=unshuffle).network().state_dict()
    image = torch.rand(1, 3, 8, 12)
    assert_close(from_state_dict(state).model(image), spanf3_by_formula(state, image, unshuffle))


@pytest.mark.parametrize(("scale", "unshuffle"), [(2, 2), (1, 4)])
def test_unshuffling_network_takes_images_of_any_size(scale: int, unshuffle: int) -> None:
    state = variant(SPANF3, 3, 8, 3, scale, unshuffle=unshuffle).network().state_dict()
    model: FamilyModel = from_state_dict(state)
    image = torch.rand(1, 3, 7, 9)
    padded = F.pad(image, (0, -9 % unshuffle, 0, -7 % unshuffle), "reflect")
    expected = spanf3_by_formula(state, padded, unshuffle)[:, :, : 7 * scale, : 9 * scale].clamp(0, 1)
    assert_close(model(image), expected)
    assert model(torch.rand(1, 3, 1, 1)).shape == (1, 3, scale, scale)
