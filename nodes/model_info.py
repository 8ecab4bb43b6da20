"""SPAN Model Info."""

from __future__ import annotations

from comfy_api.latest import io

from ..span_arch import describe
from . import _host


class SPANModelInfo(io.ComfyNode):
    """What there is to know of an upscale model, as a text and one by one."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="SPANModelInfo",
            display_name="SPAN Model Info",
            category="loaders",
            description="Tells what an upscale model is: its architecture, size, receptive field, normalisation, precision and checksum. "
            "The text is shown on the node.",
            is_output_node=True,
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.UpscaleModel.Input(
                    "upscale_model",
                    tooltip="From Load SPAN Model, or from any other loader of upscale models. Of models of other architectures less is "
                    "known.",
                )
            ],
            outputs=[
                io.String.Output(display_name="text", tooltip="All that is known, a line for each."),
                io.String.Output(display_name="architecture", tooltip="Such as SPAN, SPANPlus or ESRGAN."),
                io.Int.Output(display_name="scale", tooltip="How many times as wide and as high the result is."),
                io.Int.Output(display_name="channels", tooltip="Feature channels. 0: not known."),
                io.String.Output(display_name="blocks", tooltip="Number of blocks, such as 6, or 4+2 for blocks in groups."),
                io.Int.Output(display_name="parameters", tooltip="Number of weights; of a SPAN, once its branches are added up."),
                io.Int.Output(
                    display_name="receptive_field",
                    tooltip="Side of the square of pixels of the image that a pixel of the result depends on. 0: not finite, or not known.",
                ),
                io.String.Output(display_name="normalisation", tooltip="What the model does to its image x first."),
                io.String.Output(
                    display_name="normalisation_known", tooltip="How that is known: from the file, its graph, its architecture, or a probe."
                ),
                io.String.Output(display_name="precision", tooltip="Type of the weights in the file, such as float16."),
                io.String.Output(display_name="checksum", tooltip="SHA-256 of the file; of an ncnn pair that of its .bin."),
            ],
        )
        return _host.found_by(schema, "upscale model info", "inspect upscaler", "SHA-256", "checksum", "ESRGAN info")

    @classmethod
    def execute(cls, upscale_model) -> io.NodeOutput:
        info = describe(upscale_model)
        return io.NodeOutput(
            str(info),
            info.architecture,
            info.scale,
            info.feature_channels,
            info.blocks,
            info.parameters,
            info.receptive_field,
            info.normalisation,
            info.normalisation_known,
            info.precision,
            info.sha256,
            ui=_host.shown(str(info), cls),
        )
