"""Look-alikes: files of other kinds that people try to load as an upscale model, and networks with keys like those of the family."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from .key_prefixes import prefixes

_KINDS: tuple[tuple[str, str, str], ...] = (
    # (kind, advice, pattern that one of its keys matches from the start). The first kind that matches counts.
    ("a LoRA", "It changes a diffusion model: put it into models/loras and load it with 'Load LoRA'.",
     r"lora_(unet|te)|.*(\.lora_(up|down|[AB]|mid)\b|[._]lora(_linear_layer)?\.(up|down)\b|\.hada_w1|\.lokr_w|\.oft_blocks|\.diff_b\b)"),
    ("a ControlNet", "It steers a diffusion model: put it into models/controlnet and load it with 'Load ControlNet Model'.",
     r"control_model\.|controlnet_|input_hint_block\."),
    ("a diffusion checkpoint", "It generates images: put it into models/checkpoints and load it with 'Load Checkpoint'.",
     r"(model\.diffusion_model|first_stage_model|cond_stage_model|conditioner\.embedders)\."),
    ("a diffusion model", "It generates images: put it into models/diffusion_models and load it with 'Load Diffusion Model'.",
     r"(model\.)?(double_blocks|single_blocks|joint_blocks|transformer_blocks|down_blocks|input_blocks)\."),
    ("a VAE", "It encodes and decodes images for a diffusion model: put it into models/vae and load it with 'Load VAE'.",
     r"(vae\.)?(decoder|encoder)\.(up|down|mid|conv_in|up_blocks|down_blocks|upsamples|downsamples)\b"),
    ("a text encoder", "It reads prompts for a diffusion model: put it into models/text_encoders.",
     r"(.*\.)?text_model\.|(encoder|decoder)\.block\.0\.layer\.|(model\.)?layers\.0\.(self_attn|input_layernorm)\."),
    ("a CLIP vision model", "It reads images for a diffusion model: put it into models/clip_vision.", r"vision_model\.|visual\."),
    ("an embedding", "It is a word for prompts: put it into models/embeddings.", r"(emb_params|string_to_param|clip_[lg])$"),
)  # fmt: skip


def explain_foreign(keys: Iterable[str]) -> str | None:
    """Say what kind of file has such keys and where it belongs, in two sentences. Return None for unknown kinds."""
    known = list(keys)
    for kind, advice, pattern in _KINDS:
        if any(map(re.compile(pattern).match, known)):
            return f"It is {kind}. {advice}"
    return None


_2024, _2025, _2026 = (f"of the NTIRE {year} challenge" for year in (2024, 2025, 2026))
_LOOKALIKES: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    # (network, keys that it has under one prefix, keys that it lacks there). The first network that matches counts.
    (f"ESRNet {_2025}", ("block_7.c1_r.eval_conv.weight", "conv_cat.weight"),
     ("block_7.c2_r.eval_conv.weight", "block_7.c3_r.eval_conv.weight")),
    (f"TSR {_2025}", ("blocks.0.c1_r.eval_conv.weight", "conv_1.eval_conv.weight", "conv_2.eval_conv.weight"), ("conv_cat.weight",)),
    (f"DISP {_2026} or TSSR {_2025}", ("blocks.0.c1_r.eval_conv.weight", "conv_1.eval_conv.weight"), ("conv_cat.weight",)),
    (f"ECAS {_2025}", ("block_1.c1_r.eval_conv.weight", "conv_cat.weight", "conv.weight"), ()),
    (f"ECAS {_2025}", ("block_1.gct1.alpha", "conv_cat.weight"), ()),
    (f"RFDN_SPAN {_2026}", ("LR_conv.weight", "fea_conv.weight", "B1.c1_d.weight", "B1.c1_r.weight", "B1.c5.weight"),
     ("B1.esa.conv1.weight",)),
    (f"HannahSR {_2025}", ("fea_conv.eval_conv.weight", "B1.c1_d.weight"), ()),
    (f"FEAN {_2025}", ("eswrb.swt.kernel_x", "conv_init.weight"), ()),
    (f"GLoReNet {_2025}", ("backbone_span.0.0.c1_r.conv3x3.weight",), ()),
    (f"ZenoSR {_2026}", ("B1.local_handle.conv1.weight", "alpha_5"), ()),
    ("a HiT-SRF, such as the BVI entries of the NTIRE challenges", ("layers.0.residual_group.blocks.0.correlation.qv.linear.weight",), ()),
    (f"DIPNet {_2025}", ("block_1.esa.conv3.eval_conv.weight", "block_1.c1_r.eval_conv.weight", "block_1.c5.weight"), ()),
    (f"IESRNet {_2025}", ("block_1.esa.conv1.weight", "block_1.c1_r.eval_conv.weight", "block_1.c5.weight"), ()),
    (f"NanoSR {_2025}", ("block_1.pixel_attention.conv_1.conv.weight", "conv_cat.weight"), ()),
    ("RLFN, or derived from it", ("block_1.esa.conv1.weight", "conv_1.weight", "block_1.c1_r.weight", "block_1.c5.weight"), ()),
    ("a temporal SPAN, which takes several frames at once", ("center_conv.eval_conv.weight", "conv_cat.weight"), ()),
    ("a temporal SPAN, which takes several frames at once", ("m_layers.0.m_head.eval_conv.weight", "m_upsample.0.weight"), ()),
)  # fmt: skip


def name_lookalike(fused: Collection[str]) -> str | None:
    """Return the name of the network that has such fused keys if its keys are similar to SPAN's but its wiring is not, or None."""
    for name, has, lacks in _LOOKALIKES:
        if any(not any(start + key in fused for key in lacks) for start in prefixes(fused, has)):
            return name
    return None
