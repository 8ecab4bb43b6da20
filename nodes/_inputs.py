"""The inputs of what can be asked of an upscale, which nodes share, and what they ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from comfy_api.latest import io

from ..span_arch import Settings, sizes
from ..span_arch.engine.precision import PRECISIONS
from ..span_arch.image_ops.resize import FILTERS
from . import _host

OWN = "model scale"
"""The choice that asks for no size."""

_CHOICES: dict[str, tuple[tuple[str, ...], Callable[..., sizes.Size | None]]] = {
    OWN: ((), lambda: None),
    "factor": (("factor",), sizes.Factor),
    "longest side": (("pixels",), sizes.Longest),
    "shortest side": (("pixels",), sizes.Shortest),
    "width and height": (("width", "height", "fit"), sizes.Exact),
    "megapixels": (("megapixels",), sizes.Megapixels),
}
"""Each with the settings that it has, and the size that these are of."""

_DEFAULTS: dict[str, Any] = {
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

_COLOURS = {"white": (1, 1, 1), "black": (0, 0, 0), "grey": (0.5, 0.5, 0.5)}

_TOOLTIP = (
    "Size of the result. model scale: what the model makes of the image. For any other, the model is run as often as it takes, and a "
    "filter does the rest."
)


def inputs() -> list[Any]:
    """All of them. They are optional, as graphs need not have them; workflows keep values by their position, so new ones come last."""
    return [
        _host.advanced(
            io.Int.Input(
                "tile_size",
                default=0,
                min=0,
                max=16384,
                step=16,
                optional=True,
                tooltip="Side of a tile in pixels of the image; smaller tiles need less memory. 0: the best for this machine. "
                "With SPAN the result is the same for every size, without seams.",
            )
        ),
        _host.advanced(
            io.Combo.Input(
                "precision",
                options=list(PRECISIONS),
                default="auto",
                optional=True,
                tooltip="Type of the arithmetic. auto: the fastest that costs no visible quality. A tile that comes out as NaN in "
                "half precision is done again in float32.",
            )
        ),
        _host.advanced(
            io.Boolean.Input(
                "compile",
                default=False,
                optional=True,
                tooltip="Compile the network with torch.compile. It takes its time once, and is meant for long batches of one "
                "size on a GPU. Where there is no compiler, it makes no difference.",
            )
        ),
        _host.advanced(
            io.Combo.Input(
                "alpha",
                options=["resize", "model", *_COLOURS],
                default="resize",
                optional=True,
                tooltip="What becomes of the transparency of an RGBA image. resize: kept, by a bicubic filter. model: kept, "
                "upscaled by the model, for twice the work. A colour: the image is composed over it, and the result is RGB.",
            )
        ),
        _host.advanced(
            io.Combo.Input(
                "seamless",
                options=["off", "x", "y", "xy"],
                default="off",
                optional=True,
                tooltip="For textures that repeat themselves from left to right (x), from top to bottom (y) or both: opposite "
                "edges of the result fit each other.",
            )
        ),
        _host.advanced(
            io.Boolean.Input(
                "ensemble",
                default=False,
                optional=True,
                tooltip="Best quality: the mean of what the model makes of the image in eight orientations, for eight times the work.",
            )
        ),
        *_size(),
    ]


def wish(inputs: Mapping[str, Any]) -> Settings:
    """What they ask for; those that are missing, as in graphs of before, ask for nothing special.

    Args:
        inputs: by their ids. The size is a choice, with its settings under ``size.factor`` and so on, as plain inputs give them; or the
            choice is in a dictionary under ``size``, with its settings, as a dynamic input gives them.
    """
    told = {name.removeprefix("size."): value for name, value in inputs.items()}
    size = told.pop("size", OWN)
    told |= {"size": size} if isinstance(size, str) else size
    of = _DEFAULTS | {name: value for name, value in told.items() if value is not None}
    its, make = _CHOICES[of["size"]]
    return Settings(
        size=make(*(of[setting] for setting in its)),
        filter=of["filter"],
        tile=of["tile_size"] or None,
        precision=of["precision"],
        alpha=_COLOURS.get(of["alpha"], of["alpha"]),
        seamless="" if of["seamless"] == "off" else of["seamless"],
        ensemble=of["ensemble"],
        compiled=of["compile"],
    )


def _size() -> list[Any]:
    """One that shows the settings of what is chosen, where the host has such a thing (from 0.8 on); else all, of which those count.

    Both are called the same in graphs that are run without a frontend: ``size``, ``size.factor`` and so on.
    """
    combo: Any = getattr(io, "DynamicCombo", None)
    if combo is None:
        choice = io.Combo.Input("size", options=list(_CHOICES), default=OWN, optional=True, tooltip=_TOOLTIP)
        return [choice, *map(_host.advanced, _settings_of_size("size.").values())]
    settings = _settings_of_size("")
    _host.advanced(settings["filter"])
    options = [
        combo.Option(name, [settings[setting] for setting in (*its, "filter")] if its else []) for name, (its, _) in _CHOICES.items()
    ]
    return [combo.Input("size", options=options, optional=True, tooltip=_TOOLTIP)]


def _settings_of_size(prefix: str) -> dict[str, Any]:
    def of(kind: Any, name: str, **settings: Any) -> Any:
        return kind.Input(prefix + name, display_name=name, default=_DEFAULTS[name], optional=True, **settings)

    pixels = {"min": 1, "max": 65536, "step": 1}
    return {
        "factor": of(io.Float, "factor", min=0.01, max=1000.0, step=0.01, tooltip="So many times as large as the image."),
        "pixels": of(io.Int, "pixels", **pixels, tooltip="Length of the longest or the shortest side, in pixels. The other side follows."),
        "width": of(io.Int, "width", **pixels, tooltip="Width of the result, in pixels."),
        "height": of(io.Int, "height", **pixels, tooltip="Height of the result, in pixels."),
        "fit": of(
            io.Combo,
            "fit",
            options=list(sizes.FITS),
            tooltip="If the image has other proportions: stretch changes them; fit makes it as large as goes into that width and height; "
            "fill covers them, and cuts off what is over.",
        ),
        "megapixels": of(io.Float, "megapixels", min=0.01, max=4096.0, step=0.01, tooltip="Millions of pixels of the result."),
        "filter": of(
            io.Combo,
            "filter",
            options=list(FILTERS),
            tooltip="What resizes after the model: lanczos is the sharpest, bicubic rings less, area is the plain mean, for shrinking.",
        ),
    }
