"""Who is taken for whom: our architectures and all of spandrel's, before and after spandrel was taught ours."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from spandrel import MAIN_REGISTRY, ArchRegistry, ArchSupport, ModelLoader, UnsupportedModelError
from torch import Tensor, nn

import span_arch
from span_arch.archs._record import Architecture
from span_arch.archs.espan import ESPAN
from span_arch.archs.span import SPAN
from span_arch.archs.spanf import SPANF
from span_arch.archs.spanf3 import SPANF3
from span_arch.archs.spanplus import SPANPlus
from span_arch.blocks import Conv3XC
from span_arch.errors import UnknownArchitectureError
from span_arch.registry import FAMILY, detect

State = dict[str, Tensor]

pytestmark = pytest.mark.filterwarnings("ignore")  # of networks that are not ours

SIZES: dict[str, dict[str, Any]] = {  # for those of spandrel's that cannot be built by default on the meta device
    "HAT": {"img_size": 16, "embed_dim": 12, "depths": (2,), "num_heads": (2,), "window_size": 8, "upsampler": "pixelshuffle"},
    "GRL": {"img_size": 16, "embed_dim": 16, "depths": [1], "num_heads_window": [1], "num_heads_stripe": [1]},
    "Swin2SR": {"img_size": 8, "embed_dim": 12, "depths": [1], "num_heads": [2], "window_size": 4},
    "SwinIR": {"img_size": 8, "embed_dim": 12, "depths": [1], "num_heads": [2], "window_size": 4},
    "SCUNet": {"dim": 16, "config": [1] * 7, "input_resolution": 64},
    "Uformer": {"img_size": 32, "embed_dim": 8, "depths": [1] * 9, "num_heads": [1] * 9, "win_size": 4},
    "RGT": {"img_size": 16, "embed_dim": 12, "depth": [1], "num_heads": [2], "split_size": [4, 4]},
    "DAT": {"img_size": 8, "embed_dim": 32, "depth": [1], "num_heads": [2], "split_size": [2, 4]},
    "MMRealSR": {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1},
    "SPAN": {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 8},
    "SAFMN": {"dim": 8},
    "SAFMNBCIE": {"dim": 8},
    "IPT": {"n_feats": 8, "patch_size": 12, "patch_dim": 3, "num_layers": 1, "num_heads": 2},
    "DRCT": {"img_size": 16, "embed_dim": 16, "depths": (1,), "num_heads": (2,), "window_size": 8, "gc": 8},
    "MoSR": {"dim": 8, "n_block": 1},
    "RCAN": {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 16},
    "FDAT": {"embed_dim": 16, "num_groups": 1, "depth_per_group": 1, "num_heads": 2},
    "AuraSR": {"dim": 8, "image_size": 256, "input_image_size": 64, "style_network": {"dim_in": 8, "dim_out": 8, "depth": 1}},
    "NAFNet": {"width": 8, "enc_blk_nums": [1], "dec_blk_nums": [1], "middle_blk_num": 1},
}
THEIRS = sorted(str(support.architecture.id) for support in MAIN_REGISTRY)

OURS: dict[str, nn.Module] = {
    "SPAN": SPAN(feature_channels=8, blocks=6, scale=2),
    "SPAN of 3 blocks": SPAN(feature_channels=8, blocks=3, normalisation=None),
    "SPAN with a narrow conv_cat": SPAN(feature_channels=8, cat_channels=5),
    "SPAN with branches": SPAN(feature_channels=8, blocks=6, conv=Conv3XC),
    "SPAN with branches, no_norm": SPAN(feature_channels=8, blocks=6, normalisation=None, conv=Conv3XC),
    "SPAN with branches, of 11 blocks": SPAN(feature_channels=8, blocks=11, conv=Conv3XC),
    "SPAN with branches and a narrow conv_cat": SPAN(feature_channels=8, cat_channels=5, conv=Conv3XC),
    "SPANF": SPANF(feature_channels=8, blocks=3),
    "ESPAN": ESPAN(feature_channels=8, blocks=2),
    "SPANPlus": SPANPlus(feature_channels=8, blocks=(1,)),
    "SPANPlus with branches": SPANPlus(feature_channels=8, blocks=(1, 2), upsampler="ps", conv=Conv3XC),
    "SPANF3": SPANF3(feature_channels=8, blocks=2, scale=2, unshuffle=2),
    "SPANF3 with branches": SPANF3(feature_channels=8, blocks=2, conv=Conv3XC),
}
LEFT_TO_SPANDREL = ("SPAN with branches", "SPAN with branches, no_norm")


@cache
def theirs(name: str) -> State:
    """A state dict of one of spandrel's architectures."""
    module = importlib.import_module(type(MAIN_REGISTRY[name].architecture).__module__)
    networks = (getattr(module, exported) for exported in module.__all__)
    network = next(kind for kind in networks if inspect.isclass(kind) and issubclass(kind, nn.Module))
    if name in SIZES:
        return network(**SIZES[name]).state_dict()
    with torch.device("meta"):
        return network().state_dict()


@pytest.fixture
def taught() -> ArchRegistry:
    registry = MAIN_REGISTRY.copy()
    span_arch.register(registry)
    return registry


def first(registry: ArchRegistry, state: State) -> str | None:
    return next((str(s.architecture.id) for s in registry.architectures("detection") if s.detect(dict(state))), None)


def record(name: str) -> Architecture:
    return next(architecture for architecture in FAMILY if architecture.name == name.split()[0])


@pytest.mark.parametrize("name", THEIRS)
def test_none_of_spandrels_is_taken_for_ours(name: str, taught: ArchRegistry) -> None:
    state = theirs(name)
    before = first(MAIN_REGISTRY, state)
    assert before == name
    assert first(taught, state) == name
    found = [str(support.architecture.id) for support in taught if support.detect(dict(state))]
    assert not [one for one in found if one.startswith("span-upscale/")]
    assert (detect(state) is not None) == (name == "SPAN")


@pytest.mark.parametrize("name", THEIRS)
def test_the_error_names_what_a_file_is(name: str) -> None:
    if name == "SPAN":
        return
    with pytest.raises(UnknownArchitectureError, match=f"It is {MAIN_REGISTRY[name].architecture.name}: load it with"):
        span_arch.from_state_dict(theirs(name))


@pytest.mark.parametrize("name", OURS)
def test_each_of_ours_is_taken_for_itself_alone(name: str, taught: ArchRegistry) -> None:
    state = OURS[name].state_dict()
    assert detect(state) is record(name)
    by_spandrel = [str(support.architecture.id) for support in MAIN_REGISTRY if support.detect(dict(state))]
    assert by_spandrel == (["SPAN"] if name.startswith("SPAN with branches") else [])
    ours = [str(s.architecture.id) for s in taught if s.detect(dict(state)) and str(s.architecture.id) != "SPAN"]
    assert ours == ([] if name in LEFT_TO_SPANDREL else [f"span-upscale/{record(name).name}"])


@pytest.mark.parametrize("name", OURS)
def test_a_taught_spandrel_loads_what_we_load(name: str, taught: ArchRegistry) -> None:
    state = OURS[name].state_dict()
    model = ModelLoader(registry=taught).load_from_state_dict(dict(state))
    assert isinstance(model, span_arch.FamilyModel) != (name in LEFT_TO_SPANDREL)
    image = torch.rand(1, 3, 12, 10)
    torch.testing.assert_close(model(image), span_arch.from_state_dict(state)(image), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("file", ["span_ntire2024_ch28", "spanf_ntire2025", "espan_ntire2025"])
def test_published_files_load_once_spandrel_is_taught(file: str, data: Path, taught: ArchRegistry) -> None:
    path = data / "checkpoints" / f"{file}.pth"
    with pytest.raises(UnsupportedModelError):
        ModelLoader(registry=MAIN_REGISTRY.copy()).load_from_file(path)
    assert ModelLoader(registry=taught).load_from_file(path).scale == 4


def test_twice_is_as_good_as_once(taught: ArchRegistry) -> None:
    before: list[ArchSupport] = taught.architectures("detection")
    span_arch.register(taught)
    assert taught.architectures("detection") == before
    assert [one for one in before if not str(one.architecture.id).startswith("span-upscale/")] == MAIN_REGISTRY.architectures("detection")


@pytest.fixture
def untaught_afterwards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Puts the registry that all programs share back as it was."""
    for attribute in ("_architectures", "_ordered", "_by_id"):
        monkeypatch.setattr(MAIN_REGISTRY, attribute, getattr(MAIN_REGISTRY, attribute))
    return


@pytest.mark.usefixtures("untaught_afterwards")
def test_by_default_every_loader_is_taught() -> None:
    span_arch.register()
    assert isinstance(ModelLoader().load_from_state_dict(OURS["ESPAN"].state_dict()), span_arch.FamilyModel)


STRANGERS = {
    "a LoRA": ["lora_unet_down_blocks_0_attentions_0.lora_down.weight", "lora_te_text_model_encoder_layers_0.alpha"],
    "a LoRA of PEFT": ["base_model.model.blocks.0.attn.lora_A.weight", "base_model.model.blocks.0.attn.lora_B.weight"],
    "a LoKr": ["unet.blocks.0.lokr_w1", "unet.blocks.0.lokr_w2"],
    "a diffusion checkpoint": ["model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.decoder.conv_in.weight"],
    "a diffusion model": ["double_blocks.0.img_attn.qkv.weight", "single_blocks.0.linear1.weight"],
    "a diffusion model of diffusers": ["down_blocks.0.resnets.0.conv1.weight", "up_blocks.0.resnets.0.conv1.weight"],
    "a VAE": ["decoder.up.0.block.0.conv1.weight", "encoder.down.0.block.0.conv1.weight"],
    "a ControlNet": ["control_model.input_blocks.0.0.weight"],
    "a text encoder": ["text_model.encoder.layers.0.self_attn.k_proj.weight"],
    "a CLIP vision model": ["vision_model.embeddings.patch_embedding.weight"],
    "an embedding": ["emb_params"],
}


@pytest.mark.parametrize("name", STRANGERS)
def test_a_file_of_another_folder_is_told_where_it_belongs(name: str) -> None:
    kind = name.split(" of ")[0].replace("LoKr", "LoRA")
    with pytest.raises(UnknownArchitectureError, match=rf"It is {kind}\. .*models/"):
        span_arch.from_state_dict({key: torch.zeros(1) for key in STRANGERS[name]})
