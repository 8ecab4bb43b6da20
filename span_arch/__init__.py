"""Networks of the SPAN family: load them, upscale with them, save them. Knows torch, and no host."""

from __future__ import annotations

from . import errors
from .errors import SpanArchError
from .model import FamilyModel, Source, builtin_names, from_state_dict, load
from .save import save
from .upscale import upscale

__all__ = ["FamilyModel", "Source", "SpanArchError", "builtin_names", "errors", "from_state_dict", "load", "save", "upscale"]
