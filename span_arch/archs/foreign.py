"""Look-alikes: files of other kinds that people try to load as an upscale model."""

from __future__ import annotations

import re
from collections.abc import Iterable

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
