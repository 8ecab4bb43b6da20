"""Detection of our networks, spandrel's networks and foreign files, before and after our networks are registered with spandrel."""

from __future__ import annotations

import os
import subprocess
import sys
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

ROOT = Path(__file__).parents[2]

State = dict[str, Tensor]

SPANDRELS = MAIN_REGISTRY.copy()
"""spandrel's registry without our networks, which other tests may register in the shared one."""

SWIN = partial(dict, img_size=8, num_heads=[1], window_size=4)
UNET = partial(dict, nc=[8] * 4, nb=2)
SMALL_SPAN = partial(spandrel.SPAN.SPAN, num_in_ch=3, num_out_ch=3, feature_channels=8)
STYLE = {"dim_in": 8, "dim_out": 8, "depth": 1}

THEIRS: dict[str, Callable[[], nn.Module]] = {  # by spandrel's id, and the variant
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
    "SPAN, of a scale unknown to us": lambda: SMALL_SPAN(upscale=5),
    "SeemoRe": lambda: spandrel.SeemoRe.SeemoRe(num_layers=1, embedding_dim=16, num_experts=2),
    "SwiftSRGAN": lambda: spandrel.SwiftSRGAN.SwiftSRGAN(num_channels=8, num_blocks=1),
    "Swin2SR": lambda: spandrel.Swin2SR.Swin2SR(**SWIN(embed_dim=8, depths=[1])),
    "SwinIR": lambda: spandrel.SwinIR.SwinIR(**SWIN(embed_dim=8, depths=[1])),
    "Uformer": lambda: spandrel.Uformer.Uformer(embed_dim=8, depths=[1] * 9, num_heads=[1] * 9, win_size=4),
}
LARGE = ("GFPGAN", "KBNet, large", "LaMa")
"""Networks that cannot be small. They are built on the meta device, without memory for weights, so they cannot be loaded."""


@cache
def theirs(name: str) -> State:
    with warnings.catch_warnings(), torch.device("meta" if name in LARGE else "cpu"):
        warnings.simplefilter("ignore")  # their warnings are not about our code
        return THEIRS[name]().state_dict()


OURS = {f"{v}, {form.__name__}": (v, form) for v in VARIANTS for form in forms(v)}
every_one_of_theirs = pytest.mark.parametrize("name", THEIRS)
every_one_of_ours = pytest.mark.parametrize(("variant", "form"), OURS.values(), ids=OURS)


def detecting(registry: ArchRegistry, state: State) -> list[str]:
    """Return the ids of all architectures that detect a state dict, in order. The first one loads it."""
    return [str(support.architecture.id) for support in registry.architectures("detection") if support.detect(dict(state))]


def is_theirs(variant: Variant, form: ConvForm) -> bool:
    """Return True if spandrel's own SPAN can load the network."""
    return form is Conv3XC and variant.record is SPAN and variant.hyperparameters["blocks"] == 6


@pytest.fixture
def registered() -> ArchRegistry:
    registry = SPANDRELS.copy()
    span_arch.register(registry)
    return registry


# Detection


def test_every_architecture_of_spandrel_is_covered() -> None:
    assert {name.split(",")[0] for name in THEIRS} == {str(support.architecture.id) for support in SPANDRELS}


@every_one_of_theirs
def test_spandrels_networks_are_not_detected_as_ours(name: str, registered: ArchRegistry) -> None:
    before = detecting(SPANDRELS, theirs(name))
    assert before[0] == name.split(",")[0]
    assert detecting(registered, theirs(name)) == before
    assert detect(theirs(name)) is (SPAN if before == ["SPAN"] else None)


@every_one_of_ours
def test_our_networks_are_detected_as_themselves_only(variant: Variant, form: ConvForm, registered: ArchRegistry) -> None:
    state = variant.network(form).state_dict()
    by_spandrel = ["SPAN"] if variant.record is SPAN and form is Conv3XC else []  # spandrel detects any size, but loads six blocks only
    assert detecting(SPANDRELS, state) == by_spandrel
    assert detecting(registered, state) == [f"span-upscale/{variant.record.name}"] * (not is_theirs(variant, form)) + by_spandrel


# Loading through spandrel


@every_one_of_ours
def test_spandrel_loads_our_networks_once_registered(variant: Variant, form: ConvForm, registered: ArchRegistry) -> None:
    state = variant.network(form).state_dict()
    model = ModelLoader(registry=registered).load_from_state_dict(dict(state))
    assert isinstance(model, span_arch.FamilyModel) != is_theirs(variant, form)
    with torch.no_grad():
        ours = span_arch.from_state_dict(state, bounded=not is_theirs(variant, form))
        assert_close(model.model.eval()(variant.image()), ours.model(variant.image()))


@pytest.mark.parametrize("file", ["span_ntire2024_ch28", "spanf_ntire2025", "espan_ntire2025", "spanv2_ntire2026", "pds_ntire2026"])
def test_spandrel_loads_published_files_once_registered(file: str, data: Path, registered: ArchRegistry) -> None:
    path = data / "checkpoints" / f"{file}.pth"
    with pytest.raises(UnsupportedModelError):
        ModelLoader(registry=SPANDRELS).load_from_file(path)
    found, expected = ModelLoader(registry=registered).load_from_file(path), span_arch.load(path)
    image = torch.rand(1, 3, 8, 12)
    assert torch.equal(found.model(image), expected.model(image))


def outcome(registry: ArchRegistry, state: State) -> object:
    """Return the architecture that loads a state dict, or the type of the error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ModelLoader(registry=registry).load_from_state_dict(dict(state)).architecture
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("name", [name for name in THEIRS if name not in LARGE])
def test_spandrel_loads_its_own_networks_as_before(name: str, registered: ArchRegistry) -> None:
    before = outcome(SPANDRELS, theirs(name))
    assert before is SPANDRELS[name.split(",")[0]].architecture
    assert outcome(registered, theirs(name)) is before


def without(state: State, part: str) -> State:
    return {key: tensor for key, tensor in state.items() if part not in key}


def with_a_gain_of_one(state: State) -> State:
    """Return the state dict with half as many channels between the convolutions of each branch."""
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
def test_a_span_that_spandrel_cannot_load_is_ours(name: str, registered: ArchRegistry) -> None:
    state = BEYOND_SPANDREL[name]()
    assert outcome(SPANDRELS, state) in (UnsupportedModelError, RuntimeError)
    model = ModelLoader(registry=registered).load_from_state_dict(dict(state))
    image = torch.rand(1, 3, 8, 12)
    assert torch.equal(model.model(image), span_arch.from_state_dict(state).model(image))


@pytest.mark.parametrize("shape", [(), (8,), (8, 8, 3, 3)], ids=str)
@pytest.mark.parametrize("key", ["conv_1.sk.weight", "conv_cat.weight", "upsampler.0.weight"])
def test_a_damaged_span_raises_our_error(key: str, shape: tuple[int, ...], registered: ArchRegistry) -> None:
    with pytest.raises(span_arch.errors.WeightsError):
        ModelLoader(registry=registered).load_from_state_dict({**with_branches(), key: torch.zeros(shape)})


def test_detection_does_not_change_the_state_dict(registered: ArchRegistry) -> None:
    state = {**theirs("SPAN, no_norm"), "no_norm": torch.ones(1)}
    before = dict(state)
    for support in registered:
        support.detect(state)
    assert state.keys() == before.keys()
    assert all(tensor is before[key] for key, tensor in state.items())


# Registration


def test_registering_twice_changes_nothing_and_keeps_spandrels_order(registered: ArchRegistry) -> None:
    once = registered.architectures("detection"), registered.architectures()
    span_arch.register(registered)
    assert (registered.architectures("detection"), registered.architectures()) == once
    for order in ("detection", "insertion"):
        kept = [support for support in registered.architectures(order) if support.architecture.id not in SPANDREL_IDS]
        assert kept == SPANDRELS.architectures(order)
    assert {str(support.architecture.id) for support in registered} - {
        str(support.architecture.id) for support in SPANDRELS
    } == SPANDREL_IDS


def test_in_a_registry_without_span_every_span_is_ours() -> None:
    registry = ArchRegistry()
    span_arch.register(registry)
    assert isinstance(ModelLoader(registry=registry).load_from_state_dict(with_branches()), span_arch.FamilyModel)


def test_by_default_every_loader_sees_our_networks(tmp_path: Path) -> None:
    """Run in a process of its own, because a registration cannot be undone."""
    torch.save(with_branches(blocks=3), tmp_path / "network.pth")
    torch.save(theirs("ESRGAN"), tmp_path / "esrgan.pth")
    subprocess.run([sys.executable, "-c", DEFAULT_REGISTRY], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)


DEFAULT_REGISTRY = """
import pytest, span_arch
from spandrel import ModelLoader

with pytest.raises(RuntimeError):
    ModelLoader().load_from_file("network.pth")
span_arch.register()
assert isinstance(ModelLoader().load_from_file("network.pth"), span_arch.FamilyModel)
assert span_arch.load("esrgan.pth").architecture.name == "ESRGAN"
"""


# Foreign files


@pytest.mark.parametrize("name", [name for name in THEIRS if not name.startswith("SPAN")])
def test_another_upscaler_is_named(name: str) -> None:
    called = SPANDRELS[name.split(",")[0]].architecture.name
    with pytest.raises(UnknownArchitectureError, match=rf"It is {called}, another architecture\. Open its"):
        span_arch.from_state_dict(theirs(name))


def test_an_incomplete_span_is_not_called_another_upscaler() -> None:
    state = without(with_branches(), "block_1.c2_r.")
    assert detecting(SPANDRELS, state) == ["SPAN"]  # spandrel looks at fewer keys
    with pytest.raises(
        UnknownArchitectureError, match=r"closest architecture is SPAN, but block_1\.c2_r\.eval_conv\.weight is missing\. If the download"
    ):
        span_arch.from_state_dict(state)


CLIP = ("embeddings.position_embedding.weight", "encoder.layers.0.self_attn.q_proj.weight", "encoder.layers.0.mlp.fc1.weight")
SD15 = ("model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.encoder.down.0.block.0.conv1.weight")
UNET_BLOCK = ("conv_in.weight", "time_embedding.linear_1.weight", "down_blocks.0.resnets.0.conv1.weight")

FOREIGN: dict[str, tuple[str, ...]] = {  # kind, program, and the first keys of such files
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


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_file_is_named_with_its_folder(name: str) -> None:
    kind = name.split(",")[0]
    with pytest.raises(UnknownArchitectureError, match=rf"It is an? {kind}\. .* models/{FOLDERS[kind]}\b"):
        span_arch.from_state_dict({key: torch.zeros(1) for key in FOREIGN[name]})


def layers(*names: str, numbers: int = 4) -> tuple[str, ...]:
    """Return the keys of convolutions. A ``#`` in a name stands for 1, 2 and so on."""
    return tuple(f"{name.replace('#', str(i))}.weight" for name in names for i in range(1, numbers + 1))


SPAN_KEYS = tuple(variant(SPAN, 3, 8, 6, 4, cat_channels=8).network().state_dict())
LOOKALIKES: dict[str, tuple[str, ...]] = {  # name, and the keys that tell it apart
    "ESRNet of the NTIRE 2025 challenge": (*SPAN_KEYS, "block_7.c1_r.eval_conv.weight"),
    "TSR of the NTIRE 2025 challenge": (
        "conv_1.eval_conv.weight", "blocks.0._extern_conv_block.0.eval_conv.weight", "blocks.0.c1_r.eval_conv.weight",
        "conv_2.eval_conv.weight", "upsampler.0.weight",
    ),
    "DISP of the NTIRE 2026 challenge or TSSR of the NTIRE 2025 challenge": (
        "conv_1.eval_conv.weight", "blocks.0._extern_conv_block.0.eval_conv.weight", "blocks.0.c1_r.eval_conv.weight", "conv_2.weight",
        "upsampler.0.weight",
    ),
    "ECAS of the NTIRE 2025 challenge": (*SPAN_KEYS, "block_1.gct1.alpha", "conv.weight"),
    "RFDN_SPAN of the NTIRE 2026 challenge": (
        "fea_conv.weight", *layers("B#.c1_d", "B#.c1_r", "B#.c4", "B#.c5"), "c.0.weight", "LR_conv.weight", "upsampler.0.weight",
    ),
    "HannahSR of the NTIRE 2025 challenge": ("fea_conv.eval_conv.weight", "B1.c1_d.weight", "B1.c1_r.pw.weight", "B1.cca.dwconv.weight"),
    "FEAN of the NTIRE 2025 challenge": ("omega", "conv_init.weight", "eswrb.c1_r.expand.weight", "eswrb.swt.kernel_x"),
    "GLoReNet of the NTIRE 2025 challenge": ("head.conv3x3.weight", "backbone_span.0.0.c1_r.conv3x3.weight", "transition.0.weight"),
    "ZenoSR of the NTIRE 2026 challenge": ("alpha_5", "to_feat.weight", "B1.local_handle.conv1.weight", "to_img.0.weight"),
    "a HiT-SRF, such as the BVI entries of the NTIRE challenges": (
        "conv_first.weight", "layers.0.residual_group.blocks.0.correlation.qv.linear.weight", "upsample.0.weight",
    ),
    "RLFN, or derived from it": ("conv_1.weight", *layers("block_#.c1_r", "block_#.c5", "block_#.esa.conv1"), "upsampler.0.weight"),
    "a temporal SPAN, which takes several frames at once": ("center_conv.eval_conv.weight", *SPAN_KEYS[2:]),
}  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "module.", "params_ema."])
@pytest.mark.parametrize("name", LOOKALIKES)
def test_a_lookalike_is_named(name: str, prefix: str) -> None:
    with pytest.raises(UnknownArchitectureError, match=rf"It is {name}, which is not a SPAN network\. Choose a SPAN, ") as raised:
        span_arch.from_state_dict({f"{prefix}{key}": torch.zeros(1, 1, 1, 1) for key in LOOKALIKES[name]})
    assert "download" not in str(raised.value)


@pytest.mark.parametrize("complete", [True, False], ids=["with all keys of SPAN", "without some keys of SPAN"])
def test_an_unknown_network_with_keys_like_spans_is_not_called_damaged(complete: bool) -> None:
    keys = [*SPAN_KEYS[: None if complete else 30], *layers("block_#.esa.conv1", "block_#.mixer")]
    with pytest.raises(UnknownArchitectureError, match=r"another network with keys like those of SPAN\. It has block_1\.esa") as raised:
        span_arch.from_state_dict({key: torch.zeros(1, 1, 1, 1) for key in keys})
    assert ("lacks" in str(raised.value)) != complete
    assert "download" not in str(raised.value)


def test_an_empty_state_dict_is_reported() -> None:
    with pytest.raises(UnknownArchitectureError, match=r"The state dict is not a SPAN-family checkpoint\. It has no tensors"):
        span_arch.from_state_dict({})
