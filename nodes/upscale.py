"""SPAN Upscale."""

from __future__ import annotations

from comfy_api.latest import io

from ..span_arch import upscale
from ..span_arch.precision import PRECISIONS
from . import _host


class SPANUpscale(io.ComfyNode):
    """An image or a batch, upscaled with any upscale model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="SPANUpscale",
            display_name="SPAN Upscale",
            category="image/upscaling",
            description="Upscales an image, or a batch of images, with a network of the SPAN family or any other upscale model.",
            inputs=[
                io.UpscaleModel.Input("upscale_model", tooltip="From Load SPAN Model, or from any other loader of upscale models."),
                io.Image.Input("image", tooltip="Grey, RGB or RGBA; one image or a batch. Transparency is kept."),
                _host.advanced(
                    io.Int.Input(
                        "tile_size",
                        default=0,
                        min=0,
                        max=16384,
                        step=16,
                        tooltip="Side of a tile in pixels of the image; smaller tiles need less memory. 0: the best for this machine. "
                        "With SPAN the result is the same for every size, without seams.",
                    )
                ),
                _host.advanced(
                    io.Combo.Input(
                        "precision",
                        options=list(PRECISIONS),
                        default="auto",
                        tooltip="Type of the arithmetic. auto: the fastest that costs no visible quality. A tile that comes out as NaN in "
                        "half precision is done again in float32.",
                    )
                ),
                _host.advanced(
                    io.Boolean.Input(
                        "compile",
                        default=False,
                        optional=True,  # graphs made before it was there are still valid
                        tooltip="Compile the network with torch.compile. It takes its time once, and is meant for long batches of one "
                        "size on a GPU. Where there is no compiler, it makes no difference.",
                    )
                ),
            ],
            outputs=[io.Image.Output(display_name="image", tooltip="The upscaled image or batch.")],
        )
        return _host.found_by(schema, "upscaler", "enlarge", "super-resolution", "upscale image with model", "ESRGAN", "tiled upscale")

    @classmethod
    def execute(cls, upscale_model, image, tile_size=0, precision="auto", compile=False) -> io.NodeOutput:
        result = upscale(
            upscale_model,
            image,
            tile=tile_size or None,
            precision=precision,
            device=_host.device_of(upscale_model),
            compiled=compile,
            allocate=_host.empty_image,
            room=_host.room_for(upscale_model),
            progress=_host.progress(),
        )
        return io.NodeOutput(result)
