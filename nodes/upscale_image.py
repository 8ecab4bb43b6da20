"""The node SPAN Upscale."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..span_arch import upscale
from ..span_arch.models.build import Model
from . import _host, _inputs
from ._display import Display


class SPANUpscale(io.ComfyNode):
    """A node that upscales an image or a batch with any upscale model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="SPANUpscale",
            display_name="SPAN Upscale",
            category="image/upscaling",
            description="Upscale an image or a batch with a network of the SPAN family or any other upscale model.",
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.UpscaleModel.Input("upscale_model", tooltip="Model from Load SPAN Model or any other upscale model loader."),
                io.Image.Input("image", tooltip="Image or batch to upscale: grey, RGB or RGBA."),
                *_inputs.upscale_inputs(),
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="Upscaled image or batch.")],
        )
        return _host.with_aliases(schema, "upscaler", "enlarge", "super-resolution", "upscale image with model", "ESRGAN", "tiled upscale")

    @classmethod
    def execute(cls, upscale_model: Model, image: Tensor, **inputs: Any) -> io.NodeOutput:
        with Display.open(cls, len(image)) as display:
            result = upscale(upscale_model, image, _inputs.settings_from(inputs), display.context(upscale_model))
        return io.NodeOutput(result, ui=display.ui)
