"""Networks of the SPAN family: load them, upscale with them, save them. Knows torch, and no host."""

from __future__ import annotations

from . import errors, sizes
from .archs._normalisation import Normalisation
from .errors import SpanArchError
from .info import ModelInfo, describe
from .load import builtin_names, load
from .model import FamilyModel, Source, from_state_dict
from .register import register
from .report import Report
from .save import save
from .settings import Settings
from .upscale import upscale, upscale_frames

__all__ = [
    "FamilyModel",
    "ModelInfo",
    "Normalisation",
    "Report",
    "Settings",
    "Source",
    "SpanArchError",
    "builtin_names",
    "describe",
    "errors",
    "from_state_dict",
    "load",
    "register",
    "save",
    "sizes",
    "upscale",
    "upscale_frames",
]
