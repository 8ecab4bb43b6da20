"""Packages that import their modules when a name from them is first used, so that a program pays only for what it uses."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def lazy_names(package: str, modules: Mapping[str, Iterable[str]]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package (PEP 562).

    The package imports the same names under ``TYPE_CHECKING``, for editors and type checkers. No module may have the name of one of its
    names: Python would set that name to the module when anything imports it.

    Args:
        package: the package's ``__name__``.
        modules: the names to offer, by the relative name of the module that defines them.
    """
    module_of = {name: module for module, names in modules.items() for name in names}

    def get(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(module_of[name], package), name)
        setattr(sys.modules[package], name, value)  # the next use does not come here
        return value

    return get
