"""Which type the arithmetic is done in."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Literal, get_args

import torch

from ..errors import OptionError
from ..models.build import FamilyModel, Model

Precision = Literal["auto", "float32", "float16", "bfloat16"]
PRECISIONS: tuple[str, ...] = get_args(Precision)


def check_precision(precision: str) -> None:
    """Raises an error for a name that is none of `PRECISIONS`.

    Raises:
        OptionError: it is not.
    """
    if precision not in PRECISIONS:
        raise OptionError(f"The precision '{precision}' is unknown; expected {', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}.")


def dtype_for(precision: str, model: Model, device: torch.device) -> torch.dtype:
    """The type that a precision stands for.

    ``"auto"`` is float16 on a GPU that is built for it, for networks of the SPAN family, where it costs about 0.001 dB of PSNR; in
    all other cases float32, or `mixes_bfloat16`. What the rounding costs in other networks is not known.

    Raises:
        OptionError: the precision is none of `PRECISIONS`, or the model's architecture does not bear it.
    """
    if precision == "auto":
        return torch.float16 if isinstance(model, FamilyModel) and _fast_in_half(device) else torch.float32
    check_precision(precision)
    dtype: torch.dtype = getattr(torch, precision)
    supported = {torch.float32: True, torch.float16: model.supports_half, torch.bfloat16: model.supports_bfloat16}
    if not supported[dtype]:
        raise OptionError(f"{model.architecture.name} does not work in {precision}; use 'auto' or 'float32'.")
    return dtype


def mixes_bfloat16(precision: str, model: Model, device: torch.device) -> bool:
    """Whether the convolutions inside a network run in bfloat16, while all else is float32.

    ``"auto"`` does so for networks of the SPAN family, on a CPU with instructions for it. bfloat16 throughout would cost SPAN 0.03 dB
    of PSNR; this costs the built-in networks 0.002 to 0.0075 dB on Set5 and Set14.
    """
    return precision == "auto" and isinstance(model, FamilyModel) and device.type == "cpu" and _cpu_multiplies_bfloat16()


def _cpu_multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions that multiply bfloat16, and torch a library that uses them. Where torch does not tell, no."""
    try:
        capabilities: Mapping[str, object] = torch.cpu.get_capabilities()
    except Exception:  # of a version of torch that has other names for it, or none
        capabilities = {}
        with contextlib.suppress(Exception):
            capabilities = {"avx512_bf16": torch.cpu._is_avx512_bf16_supported()}  # pyright: ignore[reportPrivateUsage]
    return torch.backends.mkldnn.is_available() and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _fast_in_half(device: torch.device) -> bool:
    """Whether float16 is faster than float32 there, by what is known of the hardware."""
    if device.type == "cuda":
        # From Volta on there are units for it, but not in the GTX 16 cards, which call themselves Turing too. With ROCm, always.
        return torch.cuda.get_device_capability(device) >= (7, 0) and "GTX 16" not in torch.cuda.get_device_name(device)
    return device.type in ("mps", "xpu")
