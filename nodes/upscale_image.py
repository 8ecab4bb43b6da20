"""SPAN Upscale."""

from __future__ import annotations

from comfy_api.latest import io

from ..span_arch import Context, upscale
from . import _host, _inputs
from ._preview import Display


class SPANUpscale(io.ComfyNode):
    """An image or a batch, upscaled with any upscale model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="SPANUpscale",
            display_name="SPAN Upscale",
            category="image/upscaling",
            description="Upscales an image, or a batch of images, with a network of the SPAN family or any other upscale model.",
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.UpscaleModel.Input("upscale_model", tooltip="From Load SPAN Model, or from any other loader of upscale models."),
                io.Image.Input("image", tooltip="Grey, RGB or RGBA; one image or a batch."),
                *_inputs.inputs(),
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="The upscaled image or batch.")],
        )
        return _host.found_by(schema, "upscaler", "enlarge", "super-resolution", "upscale image with model", "ESRGAN", "tiled upscale")

    @classmethod
    def execute(cls, upscale_model, image, **inputs) -> io.NodeOutput:
        settings = _inputs.wish(inputs)
        with Display(cls, len(image)) as display:
            context = Context(
                _host.device_of(upscale_model), _host.room_for(upscale_model), display.progress, display.report, _host.empty_image
            )
            result = upscale(upscale_model, image, settings, context)
        return io.NodeOutput(result, ui=display.ui)
