"""Load SPAN-family super-resolution networks, upscale with them and save them. Needs torch, but no host program."""

from __future__ import annotations

from . import errors
from .archs.normalisation import Normalisation
from .engine.context import Context
from .engine.progress import Progress
from .engine.report import Report
from .engine.settings import Settings
from .errors import SpanArchError
from .image_ops import sizes
from .models.build import FamilyModel, Source, from_state_dict
from .models.describe import ModelInfo, describe
from .models.load import load
from .models.model_files import builtin_names
from .models.save import save
from .models.spandrel_plugin import register
from .upscale import upscale, upscale_frames

__all__ = [
    "Context",
    "FamilyModel",
    "ModelInfo",
    "Normalisation",
    "Progress",
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
