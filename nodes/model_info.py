"""The node SPAN Model Info."""

from __future__ import annotations

from comfy_api.latest import io

from ..span_arch import describe
from ..span_arch.models.build import Model
from . import _host


class SPANModelInfo(io.ComfyNode):
    """A node that shows the known facts about an upscale model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="SPANModelInfo",
            display_name="SPAN Model Info",
            category="loaders",
            description="Show what is known about an upscale model: architecture, scale, size, receptive field, normalisation, precision "
            "and checksum.",
            is_output_node=True,
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.UpscaleModel.Input("upscale_model", tooltip="Model to inspect. Less is known about models outside the SPAN family.")
            ],
            outputs=[
                io.String.Output(display_name="text", tooltip="All facts as text, one per line."),
                io.String.Output(display_name="architecture", tooltip="Name of the architecture, such as SPAN, SPANPlus or ESRGAN."),
                io.Int.Output(display_name="scale", tooltip="Enlargement factor of the model."),
                io.Int.Output(display_name="channels", tooltip="Number of feature channels, or 0 if unknown."),
                io.String.Output(display_name="blocks", tooltip="Number of blocks, such as 6, or 4+2 for two groups of blocks."),
                io.Int.Output(display_name="parameters", tooltip="Number of weights, counted in the fused form for the SPAN family."),
                io.Int.Output(
                    display_name="receptive_field",
                    tooltip="Side in pixels of the input area that affects one output pixel. 0 means infinite or unknown.",
                ),
                io.String.Output(display_name="normalisation", tooltip="Formula by which the model normalises its input image x."),
                io.String.Output(
                    display_name="normalisation_known",
                    tooltip="Source of the normalisation: the file, its graph, the architecture or a measurement.",
                ),
                io.String.Output(display_name="precision", tooltip="Number format of the weights in the file, such as float16."),
                io.String.Output(display_name="checksum", tooltip="SHA-256 of the file, or of the .bin file of an ncnn pair."),
            ],
        )
        return _host.with_aliases(schema, "upscale model info", "inspect upscaler", "SHA-256", "checksum", "ESRGAN info")

    @classmethod
    def execute(cls, upscale_model: Model) -> io.NodeOutput:
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
            ui=_host.show_text(str(info), cls),
        )
