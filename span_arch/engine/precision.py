"""The numeric types that a network is computed in."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from ..errors import OptionError
from ..models.build import FamilyModel, Model
from .settings import check_precision


@dataclass(frozen=True)
class Arithmetic:
    """The types that a network is computed in."""

    dtype: torch.dtype
    """The type of all values, except those that ``mixed`` makes bfloat16."""
    mixed: bool = False
    """True if strips run the inner convolutions in bfloat16. Tiles ignore it."""

    @property
    def narrow(self) -> torch.dtype:
        """The type of the inner convolutions."""
        return torch.bfloat16 if self.mixed else self.dtype

    @property
    def name(self) -> str:
        """The types in words."""
        return "bfloat16 and float32" if self.mixed else str(self.dtype).removeprefix("torch.")


FLOAT32 = Arithmetic(torch.float32)


def arithmetic_for(
    precision: str,
    model: Model,
    device: torch.device,
    multiplies_bfloat16: Callable[[], bool],
    is_fast_in_half: Callable[[torch.device], bool],
) -> Arithmetic:
    """Return the types that a precision stands for.

    For networks of the SPAN family, ``"auto"`` is float16 on a GPU that is fast at it, at a cost of about 0.001 dB of PSNR. On a
    CPU with bfloat16 instructions it is a mixture: the inner convolutions in bfloat16, all else in float32. That costs the built-in
    networks 0.002 to 0.0075 dB on Set5 and Set14; bfloat16 throughout would cost 0.03 to 0.04 dB. In all other cases ``"auto"`` is float32,
    because the cost of rounding in other networks is unknown.

    The last two arguments stand in for the functions of the same names.

    Raises:
        OptionError: the precision is unknown, or the model's architecture does not support it.
    """
    if precision == "auto":
        if not isinstance(model, FamilyModel):
            return FLOAT32
        if device.type == "cpu":
            return Arithmetic(torch.float32, mixed=multiplies_bfloat16())
        return Arithmetic(torch.float16) if is_fast_in_half(device) else FLOAT32
    check_precision(precision)
    dtype: torch.dtype = getattr(torch, precision)
    supported = {torch.float32: True, torch.float16: model.supports_half, torch.bfloat16: model.supports_bfloat16}
    if not supported[dtype]:
        raise OptionError(f"{model.architecture.name} does not work in {precision}. Use 'auto' or 'float32'.")
    return Arithmetic(dtype)


def multiplies_bfloat16() -> bool:
    """Return whether this CPU has bfloat16 instructions and torch uses them. If torch does not say, the answer is no."""
    try:
        capabilities: Mapping[str, object] = torch.cpu.get_capabilities()
    except Exception:  # a version of torch with other names, or none
        capabilities = {}
        with contextlib.suppress(Exception):
            capabilities = {"avx512_bf16": torch.cpu._is_avx512_bf16_supported()}  # pyright: ignore[reportPrivateUsage]
    return torch.backends.mkldnn.is_available() and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def is_fast_in_half(device: torch.device) -> bool:
    """Return whether float16 is faster than float32 on a device, by what is known of its kind."""
    if device.type == "cuda":
        # GPUs have units for it from Volta on, except the GTX 16 cards, which report themselves as Turing. With ROCm, all have.
        return torch.cuda.get_device_capability(device) >= (7, 0) and "GTX 16" not in torch.cuda.get_device_name(device)
    return device.type in ("mps", "xpu")
