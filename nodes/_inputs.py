"""The inputs that both upscaling nodes share, and their conversion to `Settings`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from comfy_api.latest import io

from ..span_arch import Settings, sizes
from ..span_arch.engine.settings import PRECISIONS
from ..span_arch.image_ops.choices import FILTERS
from . import _host

MODEL_SCALE = "model scale"

_SIZES: dict[str, tuple[tuple[str, ...], Callable[..., sizes.Size | None]]] = {
    MODEL_SCALE: ((), lambda: None),
    "factor": (("factor",), sizes.Factor),
    "longest side": (("pixels",), sizes.Longest),
    "shortest side": (("pixels",), sizes.Shortest),
    "width and height": (("width", "height", "fit"), sizes.Exact),
    "megapixels": (("megapixels",), sizes.Megapixels),
}
"""The choices of `size`, each with the names of its settings and the constructor that takes them."""

_DEFAULTS: dict[str, Any] = {
    "size": MODEL_SCALE,
    "factor": 2.0,
    "pixels": 2048,
    "width": 1920,
    "height": 1080,
    "fit": "stretch",
    "megapixels": 4.0,
    "filter": "lanczos",
    "tile_size": 0,
    "precision": "auto",
    "compile": False,
    "alpha": "resize",
    "seamless": "off",
    "ensemble": False,
}

_COLOURS: dict[str, Any] = {"white": (1, 1, 1), "black": (0, 0, 0), "grey": (0.5, 0.5, 0.5)}

_SIZE_TOOLTIP = "Size of the result. The default, model scale, is the size the model produces."


def upscale_inputs() -> list[Any]:
    """Return the size and then the advanced inputs. All are optional, so that a graph for the API may leave them out.

    Saved workflows hold values by position. Without dynamic inputs, the settings of `size` come last, so that the positions before them
    are the same in all hosts.
    """
    size, settings = _size_inputs()
    advanced = [
        _input(
            io.Int,
            "tile_size",
            "Side of a tile in pixels of the input image. 0, the default, chooses automatically; smaller tiles need less memory.",
            min=0,
            max=16384,
            step=16,
        ),
        _input(
            io.Combo,
            "precision",
            "Number format of the computation. auto is the fastest without visible loss; float32 is exact.",
            options=list(PRECISIONS),
        ),
        _input(
            io.Boolean, "compile", "Compile the network with torch.compile. The first run takes longer; meant for long batches on a GPU."
        ),
        _input(
            io.Combo,
            "alpha",
            "Resize the transparency, upscale it with the model, or fill it with a colour. Upscaling it doubles the work.",
            options=["resize", "model", *_COLOURS],
        ),
        _input(
            io.Combo,
            "seamless",
            "Keep a repeating texture seamless: horizontally (x), vertically (y) or both (xy).",
            options=["off", "x", "y", "xy"],
        ),
        _input(
            io.Boolean, "ensemble", "Average the results of eight flips and rotations. Gives the best quality for eight times the work."
        ),
    ]
    return [size, *map(_host.advanced, [*advanced, *settings])]


def settings_from(inputs: Mapping[str, Any]) -> Settings:
    """Return the settings for the values of the inputs. Missing inputs have their defaults.

    Args:
        inputs: values by input id. The size is a dictionary under ``size``, as dynamic inputs give it; or a choice under ``size`` with
            its settings under ``size.factor`` and so on, as plain inputs give them.
    """
    given = {name.removeprefix("size."): value for name, value in inputs.items()}
    if isinstance(given.get("size"), dict):
        given |= given["size"]
    values = _DEFAULTS | {name: value for name, value in given.items() if value is not None}
    names, make = _SIZES[values["size"]]
    return Settings(
        size=make(*(values[name] for name in names)),
        filter=values["filter"],
        tile=values["tile_size"] or None,
        precision=values["precision"],
        alpha=_COLOURS.get(values["alpha"], values["alpha"]),
        seamless="" if values["seamless"] == "off" else values["seamless"],
        ensemble=values["ensemble"],
        compiled=values["compile"],
    )


def _input(kind: Any, name: str, tooltip: str, prefix: str = "", **options: Any) -> Any:
    return kind.Input(prefix + name, display_name=name, default=_DEFAULTS[name], optional=True, tooltip=tooltip, **options)


def _size_inputs() -> tuple[Any, list[Any]]:
    """Return the input `size`, and its settings where the host has no dynamic inputs (before 0.8).

    Both kinds have the same ids in graphs for the API: ``size``, ``size.factor`` and so on.
    """
    dynamic: Any = getattr(io, "DynamicCombo", None)
    if dynamic is None:
        return _input(io.Combo, "size", _SIZE_TOOLTIP, options=list(_SIZES)), list(_size_settings("size.").values())
    settings = _size_settings("")
    _host.advanced(settings["filter"])
    options = [
        dynamic.Option(size, [settings[name] for name in (*names, "filter")] if names else []) for size, (names, _) in _SIZES.items()
    ]
    return dynamic.Input("size", options=options, optional=True, tooltip=_SIZE_TOOLTIP), []


def _size_settings(prefix: str) -> dict[str, Any]:
    pixels = {"min": 1, "max": 65536, "step": 1}
    settings: list[tuple[Any, str, str, dict[str, Any]]] = [
        (io.Float, "factor", "Enlargement factor, such as 1.5 or 2.", {"min": 0.01, "max": 1000.0, "step": 0.01}),
        (io.Int, "pixels", "Length of the chosen side in pixels. The other side keeps the proportions.", pixels),
        (io.Int, "width", "Width of the result in pixels.", pixels),
        (io.Int, "height", "Height of the result in pixels.", pixels),
        (
            io.Combo,
            "fit",
            "How to handle other proportions: stretch distorts, fit keeps everything, fill crops the excess.",
            {"options": list(sizes.FITS)},
        ),
        (io.Float, "megapixels", "Size of the result in millions of pixels.", {"min": 0.01, "max": 4096.0, "step": 0.01}),
        (
            io.Combo,
            "filter",
            "Resize filter applied after the model. lanczos is sharpest, bicubic rings less, area suits shrinking.",
            {"options": list(FILTERS)},
        ),
    ]
    return {name: _input(kind, name, tooltip, prefix, **options) for kind, name, tooltip, options in settings}
