"""Load super-resolution networks of the SPAN family and others, upscale with them and save them. Needs torch, but no host program.

Names are imported when they are first used, so importing this package does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import errors
from ._util.lazy import lazy_names
from .errors import SpanArchError
from .image_ops import sizes

if TYPE_CHECKING:
    from .archs.normalisation import Normalisation
    from .engine.context import Context
    from .engine.progress import Progress
    from .engine.report import Report
    from .engine.settings import Settings
    from .models.build import FamilyModel, Source, from_state_dict
    from .models.describe import ModelInfo, describe
    from .models.load import load
    from .models.model_files import builtin_names
    from .models.save import save
    from .models.spandrel_plugin import register
    from .upscaling import upscale, upscale_frames

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

__getattr__ = lazy_names(
    __name__,
    {
        ".archs.normalisation": ("Normalisation",),
        ".engine.context": ("Context",),
        ".engine.progress": ("Progress",),
        ".engine.report": ("Report",),
        ".engine.settings": ("Settings",),
        ".models.build": ("FamilyModel", "Source", "from_state_dict"),
        ".models.describe": ("ModelInfo", "describe"),
        ".models.load": ("load",),
        ".models.model_files": ("builtin_names",),
        ".models.save": ("save",),
        ".models.spandrel_plugin": ("register",),
        ".upscaling": ("upscale", "upscale_frames"),
    },
)


def __dir__() -> list[str]:
    return __all__
