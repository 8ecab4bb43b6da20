"""Who is taken for whom: our networks, all of spandrel's, before and after spandrel was taught ours, and files that are no upscaler."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import pytest
import torch
from spandrel import MAIN_REGISTRY, ArchRegistry, ModelLoader, UnsupportedModelError
from spandrel import architectures as spandrel
from torch import Tensor, nn

import span_arch
from span_arch.archs.blocks import Conv3XC, ConvForm
from span_arch.archs.registry import SPANDREL_IDS, detect
from span_arch.errors import UnknownArchitectureError

from ..variants import SPAN, VARIANTS, Variant, assert_close, forms, variant

State = dict[str, Tensor]

AS_BEFORE = MAIN_REGISTRY.copy()
"""spandrel's registry as spandrel made it, for the tests of other files may have taught the one that all loaders share."""

SWIN = partial(dict, img_size=8, num_heads=[1], window_size=4)
UNET = partial(dict, nc=[8] * 4, nb=2)
SMALL_SPAN = partial(spandrel.SPAN.SPAN, num_in_ch=3, num_out_ch=3, feature_channels=8)
STYLE = {"dim_in": 8, "dim_out": 8, "depth": 1}

THEIRS: dict[str, Callable[[], nn.Module]] = {  # by spandrel's id, and what is special about it
    "ATD": lambda: spandrel.ATD.ATD(**SWIN(embed_dim=8, depths=(2,), category_size=16, num_tokens=4)),
    "AuraSR": lambda: spandrel.AuraSR.AuraSR(dim=8, image_size=256, input_image_size=64, style_network=STYLE),
    "CRAFT": lambda: spandrel.CRAFT.CRAFT(embed_dim=12, depths=[1], num_heads=[6], window_size=4),
    "Compact": lambda: spandrel.Compact.Compact(num_feat=8, num_conv=2),
    "DAT": lambda: spandrel.DAT.DAT(img_size=8, embed_dim=32, depth=[1], num_heads=[2], split_size=[2, 4]),
    "DCTLSA": lambda: spandrel.DCTLSA.DCTLSA(nf=10),
    "DITN": lambda: spandrel.DITN.DITN(dim=8, ITL_blocks=1, SAL_blocks=1),
    "DRCT": lambda: spandrel.DRCT.DRCT(**SWIN(embed_dim=8, depths=(1,), gc=4)),
    "DRUNet": lambda: spandrel.DRUNet.DRUNet(**UNET()),
    "DnCNN": lambda: spandrel.DnCNN.DnCNN(nc=8, nb=6),
    "DnCNN, without normalisation": lambda: spandrel.DnCNN.DnCNN(nc=8, nb=8, act_mode="R"),
    "ESRGAN": lambda: spandrel.ESRGAN.ESRGAN(num_filters=8, num_blocks=1),
    "ESRGAN, plus": lambda: spandrel.ESRGAN.ESRGAN(num_filters=8, num_blocks=1, plus=True),
    "FBCNN": lambda: spandrel.FBCNN.FBCNN(**UNET()),
    "FDAT": lambda: spandrel.FDAT.FDAT(embed_dim=16, num_groups=1, depth_per_group=1, num_heads=2, mid_dim=8),
    "FFTformer": lambda: spandrel.FFTformer.FFTformer(dim=8, num_blocks=[1] * 3, num_refinement_blocks=1),
    "GFPGAN": lambda: spandrel.GFPGAN.GFPGAN(),
    "GRL": lambda: spandrel.GRL.GRL(img_size=8, embed_dim=8, depths=[1], num_heads_window=[1], num_heads_stripe=[1]),
    "HAT": lambda: spandrel.HAT.HAT(**SWIN(embed_dim=30, depths=(1,), num_feat=8)),
    "HVICIDNet": lambda: spandrel.HVICIDNet.HVICIDNet(channels=[8] * 4, heads=[1] * 4),
    "IPT": lambda: spandrel.IPT.IPT(n_feats=8, patch_size=12, num_layers=1, num_heads=2),
    "KBNet": lambda: spandrel.KBNet.KBNet_s(width=8, middle_blk_num=1, enc_blk_nums=[1] * 4, dec_blk_nums=[1] * 4),
    "KBNet, large": lambda: spandrel.KBNet.KBNet_l(num_blocks=[1] * 4, num_refinement_blocks=1),
    "LaMa": lambda: spandrel.LaMa.LaMa(),
    "MMRealSR": lambda: spandrel.MMRealSR.MMRealSR(
        num_in_ch=3, num_out_ch=3, num_feat=8, num_block=1, num_feats=[8] * 4, num_blocks=[1] * 4
    ),
    "MixDehazeNet": lambda: spandrel.MixDehazeNet.MixDehazeNet(embed_dims=[8] * 5, depths=[1] * 5),
    "MoESR": lambda: spandrel.MoESR.MoESR(dim=16, n_blocks=1, n_block=1),
    "MoSR": lambda: spandrel.MoSR.MoSR(dim=8, n_block=1),
    "NAFNet": lambda: spandrel.NAFNet.NAFNet(enc_blk_nums=[1], dec_blk_nums=[1]),
    "OmniSR": lambda: spandrel.OmniSR.OmniSR(num_feat=8),
    "PLKSR": lambda: spandrel.PLKSR.PLKSR(dim=8, n_blocks=1),
    "PLKSR, real": lambda: spandrel.PLKSR.RealPLKSR(dim=8, n_blocks=1),
    "PLKSR, real, with DySample": lambda: spandrel.PLKSR.RealPLKSR(dim=8, n_blocks=1, dysample=True),
    "RCAN": lambda: spandrel.RCAN.RCAN(n_resgroups=1, n_resblocks=1, n_feats=16),
    "RGT": lambda: spandrel.RGT.RGT(img_size=8, embed_dim=32, depth=[1], num_heads=[2], split_size=[4, 4]),
    "RealCUGAN": lambda: spandrel.RealCUGAN.UpCunet2x(),
    "RealCUGAN, x3": lambda: spandrel.RealCUGAN.UpCunet3x(),
    "RestoreFormer": lambda: spandrel.RestoreFormer.RestoreFormer(ch=32, n_embed=8, ch_mult=(1, 1), num_res_blocks=1),
    "RetinexFormer": lambda: spandrel.RetinexFormer.RetinexFormer(n_feat=8, stage=1),
    "SAFMN": lambda: spandrel.SAFMN.SAFMN(dim=8, n_blocks=1),
    "SAFMNBCIE": lambda: spandrel.SAFMNBCIE.SAFMNBCIE(dim=8, n_blocks=1, num_layers=1),
    "SCUNet": lambda: spandrel.SCUNet.SCUNet(config=[1] * 7, dim=16),
    "SPAN": lambda: SMALL_SPAN(),
    "SPAN, no_norm": lambda: SMALL_SPAN(norm=False),
    "SPAN, of a scale that we have not": lambda: SMALL_SPAN(upscale=5),
    "SeemoRe": lambda: spandrel.SeemoRe.SeemoRe(num_layers=1, embedding_dim=16, num_experts=2),
    "SwiftSRGAN": lambda: spandrel.SwiftSRGAN.SwiftSRGAN(num_channels=8, num_blocks=1),
    "Swin2SR": lambda: spandrel.Swin2SR.Swin2SR(**SWIN(embed_dim=8, depths=[1])),
    "SwinIR": lambda: spandrel.SwinIR.SwinIR(**SWIN(embed_dim=8, depths=[1])),
    "Uformer": lambda: spandrel.Uformer.Uformer(embed_dim=8, depths=[1] * 9, num_heads=[1] * 9, win_size=4),
}
LARGE = ("GFPGAN", "KBNet, large", "LaMa")
"""Those that cannot be small: built without memory for their weights, and so not loaded."""


@cache
def theirs(name: str) -> State:
    with warnings.catch_warnings(), torch.device("meta" if name in LARGE else "cpu"):
        warnings.simplefilter("ignore")  # what they warn of is not ours to mend
        return THEIRS[name]().state_dict()


OURS = {f"{v}, {form.__name__}": (v, form) for v in VARIANTS for form in forms(v)}
every_one_of_theirs = pytest.mark.parametrize("name", THEIRS)
every_one_of_ours = pytest.mark.parametrize(("variant", "form"), OURS.values(), ids=OURS)


def detecting(registry: ArchRegistry, state: State) -> list[str]:
    """The ids of the architectures that take a state dict for theirs, in the order in which they are asked: the first gets it."""
    return [str(support.architecture.id) for support in registry.architectures("detection") if support.detect(dict(state))]


def is_theirs(variant: Variant, form: ConvForm) -> bool:
    """Whether spandrel's own SPAN can load it."""
    return form is Conv3XC and variant.record is SPAN and variant.hyperparameters["blocks"] == 6


@pytest.fixture
def taught() -> ArchRegistry:
    registry = AS_BEFORE.copy()
    span_arch.register(registry)
    return registry


# Detection


def test_spandrel_has_no_architecture_that_is_not_tried_here() -> None:
    assert {name.split(",")[0] for name in THEIRS} == {str(support.architecture.id) for support in AS_BEFORE}


@every_one_of_theirs
def test_spandrels_networks_are_never_taken_for_ours(name: str, taught: ArchRegistry) -> None:
    before = detecting(AS_BEFORE, theirs(name))
    assert before[0] == name.split(",")[0]
    assert detecting(taught, theirs(name)) == before
    assert detect(theirs(name)) is (SPAN if before == ["SPAN"] else None)


@every_one_of_ours
def test_ours_are_taken_for_themselves_alone(variant: Variant, form: ConvForm, taught: ArchRegistry) -> None:
    state = variant.network(form).state_dict()
    by_spandrel = ["SPAN"] if variant.record is SPAN and form is Conv3XC else []  # of any size, and can load that of six blocks
    assert detecting(AS_BEFORE, state) == by_spandrel
    assert detecting(taught, state) == [f"span-upscale/{variant.record.name}"] * (not is_theirs(variant, form)) + by_spandrel


# What a taught spandrel loads


@every_one_of_ours
def test_a_taught_spandrel_loads_what_we_load(variant: Variant, form: ConvForm, taught: ArchRegistry) -> None:
    state = variant.network(form).state_dict()
    model = ModelLoader(registry=taught).load_from_state_dict(dict(state))
    assert isinstance(model, span_arch.FamilyModel) != is_theirs(variant, form)
    with torch.no_grad():
        assert_close(model.model.eval()(variant.image()), span_arch.from_state_dict(state).model(variant.image()))


@pytest.mark.parametrize("file", ["span_ntire2024_ch28", "spanf_ntire2025", "espan_ntire2025"])
def test_published_files_load_once_spandrel_is_taught(file: str, data: Path, taught: ArchRegistry) -> None:
    path = data / "checkpoints" / f"{file}.pth"
    with pytest.raises(UnsupportedModelError):
        ModelLoader(registry=AS_BEFORE).load_from_file(path)
    found, expected = ModelLoader(registry=taught).load_from_file(path), span_arch.load(path)
    image = torch.rand(1, 3, 8, 12)
    assert torch.equal(found.model(image), expected.model(image))


def outcome(registry: ArchRegistry, state: State) -> object:
    """The very architecture that loaded a state dict, or the error that came of it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ModelLoader(registry=registry).load_from_state_dict(dict(state)).architecture
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("name", [name for name in THEIRS if name not in LARGE])
def test_what_spandrel_could_load_it_loads_as_before(name: str, taught: ArchRegistry) -> None:
    before = outcome(AS_BEFORE, theirs(name))
    assert before is AS_BEFORE[name.split(",")[0]].architecture
    assert outcome(taught, theirs(name)) is before


def without(state: State, part: str) -> State:
    return {key: tensor for key, tensor in state.items() if part not in key}


def with_a_gain_of_one(state: State) -> State:
    """With half as many channels between the branches' convolutions."""
    half = {".conv.0.": (0,), ".conv.1.": (0, 1), ".conv.2.": (1,)}

    def narrowed(key: str, tensor: Tensor) -> Tensor:
        for axis in next((axes for part, axes in half.items() if part in key), ()):
            tensor = tensor.narrow(axis, 0, tensor.shape[axis] // 2) if axis < tensor.ndim else tensor
        return tensor.clone()

    return {key: narrowed(key, tensor) for key, tensor in state.items()}


def with_branches(blocks: int = 6, cat_channels: int = 8) -> State:
    return variant(SPAN, 3, 8, blocks, 2, cat_channels=cat_channels).network(Conv3XC).state_dict()


BEYOND_SPANDREL: dict[str, Callable[[], State]] = {
    "3 blocks": lambda: with_branches(blocks=3),
    "11 blocks": lambda: with_branches(blocks=11),
    "a narrower conv_cat": lambda: with_branches(cat_channels=5),
    "branches only": lambda: without(with_branches(), ".eval_conv."),
    "one convolution of branches only": lambda: without(with_branches(), "block_4.c2_r.eval_conv."),
    "one convolution fused": lambda: without(without(with_branches(), "block_4.c2_r.sk."), "block_4.c2_r.conv."),
    "a gain of 1": lambda: with_a_gain_of_one(with_branches()),
}


@pytest.mark.parametrize("name", BEYOND_SPANDREL)
def test_a_span_with_branches_that_spandrel_cannot_load_is_ours(name: str, taught: ArchRegistry) -> None:
    state = BEYOND_SPANDREL[name]()
    assert outcome(AS_BEFORE, state) in (UnsupportedModelError, RuntimeError)
    model = ModelLoader(registry=taught).load_from_state_dict(dict(state))
    image = torch.rand(1, 3, 8, 12)
    assert torch.equal(model.model(image), span_arch.from_state_dict(state).model(image))


@pytest.mark.parametrize("shape", [(), (8,), (8, 8, 3, 3)], ids=str)
@pytest.mark.parametrize("key", ["conv_1.sk.weight", "conv_cat.weight", "upsampler.0.weight"])
def test_a_damaged_span_gets_our_error(key: str, shape: tuple[int, ...], taught: ArchRegistry) -> None:
    with pytest.raises(span_arch.errors.WeightsError):
        ModelLoader(registry=taught).load_from_state_dict({**with_branches(), key: torch.zeros(shape)})


def test_to_ask_whose_a_state_dict_is_changes_nothing_in_it(taught: ArchRegistry) -> None:
    state = {**theirs("SPAN, no_norm"), "no_norm": torch.ones(1)}
    before = dict(state)
    for support in taught:
        support.detect(state)
    assert state.keys() == before.keys()
    assert all(tensor is before[key] for key, tensor in state.items())


# Teaching


def test_twice_is_as_good_as_once_and_spandrels_own_keep_their_order(taught: ArchRegistry) -> None:
    once = taught.architectures("detection"), taught.architectures()
    span_arch.register(taught)
    assert (taught.architectures("detection"), taught.architectures()) == once
    for order in ("detection", "insertion"):
        kept = [support for support in taught.architectures(order) if support.architecture.id not in SPANDREL_IDS]
        assert kept == AS_BEFORE.architectures(order)
    assert {str(support.architecture.id) for support in taught} - {str(support.architecture.id) for support in AS_BEFORE} == SPANDREL_IDS


def test_a_registry_without_a_span_of_its_own_leaves_all_to_ours() -> None:
    registry = ArchRegistry()
    span_arch.register(registry)
    assert isinstance(ModelLoader(registry=registry).load_from_state_dict(with_branches()), span_arch.FamilyModel)


def test_by_default_every_loader_is_taught(monkeypatch: pytest.MonkeyPatch) -> None:
    for attribute in ("_architectures", "_ordered", "_by_id"):
        monkeypatch.setattr(MAIN_REGISTRY, attribute, getattr(AS_BEFORE, attribute))
    state = with_branches(blocks=3)
    with pytest.raises(RuntimeError):
        ModelLoader().load_from_state_dict(dict(state))
    span_arch.register()
    assert isinstance(ModelLoader().load_from_state_dict(dict(state)), span_arch.FamilyModel)
    with pytest.raises(UnknownArchitectureError, match="It is ESRGAN: "):  # and the advice is still spandrel's own
        span_arch.from_state_dict(theirs("ESRGAN"))


# Strangers


@pytest.mark.parametrize("name", [name for name in THEIRS if not name.startswith("SPAN")])
def test_an_upscaler_is_called_by_its_name(name: str) -> None:
    called = AS_BEFORE[name.split(",")[0]].architecture.name
    with pytest.raises(UnknownArchitectureError, match=rf"It is {called}: load it with 'Load Upscale Model'"):
        span_arch.from_state_dict(theirs(name))


def test_a_span_that_lacks_a_part_is_not_sent_away() -> None:
    state = without(with_branches(), "block_1.c2_r.")
    assert detecting(AS_BEFORE, state) == ["SPAN"]  # which looks at fewer keys
    with pytest.raises(UnknownArchitectureError, match=r"nearest is SPAN, but block_1\.c2_r\.eval_conv\.weight is missing\. Take a file"):
        span_arch.from_state_dict(state)


CLIP = ("embeddings.position_embedding.weight", "encoder.layers.0.self_attn.q_proj.weight", "encoder.layers.0.mlp.fc1.weight")
SD15 = ("model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.encoder.down.0.block.0.conv1.weight")
UNET_BLOCK = ("conv_in.weight", "time_embedding.linear_1.weight", "down_blocks.0.resnets.0.conv1.weight")

STRANGERS: dict[str, tuple[str, ...]] = {  # what it is, by whom, and the keys that such files begin with
    "LoRA, kohya": ("lora_unet_down_blocks_0_attentions_0_proj_in.alpha", "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight"),
    "LoRA, kohya, text encoders only": tuple(f"lora_te{i}_text_model_encoder_layers_0_mlp_fc1.lora_up.weight" for i in (1, 2)),
    "LoRA, OneTrainer": ("lora_transformer_double_blocks_0_img_attn_proj.lora_down.weight",),
    "LoRA, PEFT": ("base_model.model.blocks.0.attn.q.lora_A.weight", "base_model.model.blocks.0.attn.q.lora_B.default.weight"),
    "LoRA, diffusers": ("transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight",),
    "LoRA, diffusers, of the text encoder": ("text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.up.weight",),
    "LoRA, diffusers, old": ("down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.up.weight",),
    "LoRA, LyCORIS": ("lora_unet_mid_block_attentions_0_proj_in.hada_w1_a",),
    "LoRA, LoKr": ("diffusion_model.double_blocks.0.img_attn.proj.lokr_w1",),
    "ControlNet, SD 1.5": ("control_model.input_blocks.0.0.weight", "control_model.input_hint_block.0.weight"),
    "ControlNet, with its checkpoint": (*SD15, "control_model.input_blocks.0.0.weight"),
    "ControlNet, diffusers": (*UNET_BLOCK, "controlnet_cond_embedding.conv_in.weight", "controlnet_down_blocks.0.weight"),
    "ControlNet, Flux": ("transformer_blocks.0.attn.to_q.weight", "controlnet_blocks.0.weight"),
    "diffusion checkpoint, SD 1.5": ("alphas_cumprod", *(f"cond_stage_model.transformer.text_model.{key}" for key in CLIP), *SD15),
    "diffusion checkpoint, SDXL": (*(f"conditioner.embedders.0.transformer.text_model.{key}" for key in CLIP), *SD15),
    "diffusion model, Flux": ("double_blocks.0.img_attn.qkv.weight", "img_in.weight", "single_blocks.0.linear1.weight"),
    "diffusion model, diffusers, UNet": (*UNET_BLOCK, "mid_block.resnets.0.conv1.weight", "up_blocks.0.resnets.0.conv1.weight"),
    "diffusion model, diffusers, Flux": (
        "context_embedder.weight",
        "single_transformer_blocks.0.attn.to_q.weight",
        "transformer_blocks.0.norm",
    ),
    "VAE, SD": ("encoder.conv_in.weight", "encoder.down.0.block.0.norm1.weight", "decoder.up.0.block.0.conv1.weight", "quant_conv.weight"),
    "VAE, diffusers": ("encoder.down_blocks.0.resnets.0.conv1.weight", "decoder.up_blocks.0.resnets.0.conv1.weight", "quant_conv.weight"),
    "VAE, Wan": ("conv1.weight", "encoder.downsamples.0.residual.0.gamma", "decoder.upsamples.0.residual.0.gamma"),
    "text encoder, CLIP": tuple(f"text_model.{key}" for key in CLIP),
    "text encoder, T5": ("encoder.block.0.layer.0.SelfAttention.q.weight", "encoder.final_layer_norm.weight", "shared.weight"),
    "text encoder, Qwen": ("model.embed_tokens.weight", "model.layers.0.input_layernorm.weight", "model.layers.0.self_attn.q_proj.weight"),
    "CLIP vision model, HF": (*(f"vision_model.{key}" for key in CLIP), "visual_projection.weight"),
    "CLIP vision model, OpenCLIP": ("visual.class_embedding", "visual.transformer.resblocks.0.attn.in_proj_weight"),
    "embedding, SD 1.5": ("emb_params",),
    "embedding, SDXL": ("clip_g", "clip_l"),
}
FOLDERS = {
    "LoRA": "loras",
    "ControlNet": "controlnet",
    "diffusion checkpoint": "checkpoints",
    "diffusion model": "diffusion_models",
    "VAE": "vae",
    "text encoder": "text_encoders",
    "CLIP vision model": "clip_vision",
    "embedding": "embeddings",
}


@pytest.mark.parametrize("name", STRANGERS)
def test_a_file_of_another_folder_is_told_where_it_belongs(name: str) -> None:
    kind = name.split(",")[0]
    with pytest.raises(UnknownArchitectureError, match=rf"It is an? {kind}\. .* models/{FOLDERS[kind]}\b"):
        span_arch.from_state_dict({key: torch.zeros(1) for key in STRANGERS[name]})


def test_nothing_at_all_is_told_as_well() -> None:
    with pytest.raises(UnknownArchitectureError, match="found no tensors"):
        span_arch.from_state_dict({})
