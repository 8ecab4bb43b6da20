"""Networks of the SPAN family: load them, upscale with them, save them. Knows torch, and no host."""

from __future__ import annotations

from . import errors
from .archs._normalisation import Normalisation
from .errors import SpanArchError
from .info import ModelInfo, describe
from .load import builtin_names, load
from .model import FamilyModel, Source, from_state_dict
from .register import register
from .save import save
from .upscale import upscale

__all__ = [
    "FamilyModel",
    "ModelInfo",
    "Normalisation",
    "Source",
    "SpanArchError",
    "builtin_names",
    "describe",
    "errors",
    "from_state_dict",
    "load",
    "register",
    "save",
    "upscale",
]
