"""The node Save SPAN Model."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..span_arch import save
from ..span_arch.models.build import Model
from ..span_arch.models.save import Form
from . import _host

_FORMATS: dict[str, tuple[str, Form]] = {
    "safetensors": (".safetensors", "fused"),
    "safetensors, training form": (".safetensors", "training"),
    "pth": (".pth", "fused"),
    "pth, training form": (".pth", "training"),
    "onnx": (".onnx", "fused"),
    "ncnn": (".param", "fused"),
}
"""The formats, each with the suffix of the file and the form of the network."""


class SaveSPANModel(io.ComfyNode):
    """A node that saves an upscale model for this pack or another program."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="SaveSPANModel",
            display_name="Save SPAN Model",
            category="loaders",
            description="Save an upscale model to the output folder, for this pack or another program. The node keeps the file only if it "
            "reproduces the model.",
            is_output_node=True,
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.UpscaleModel.Input("upscale_model", tooltip="Model to save. Models outside the SPAN family need safetensors or pth."),
                io.String.Input(
                    "filename_prefix",
                    default="upscale_models/SPAN",
                    tooltip="Folder and start of the file name; number and scale follow, as in SPAN_00001_x4.",
                ),
                io.Combo.Input(
                    "format",
                    options=list(_FORMATS),
                    default="safetensors",
                    tooltip="Format: safetensors for this pack, training form for chaiNNer, onnx for onnxruntime, ncnn for Upscayl.",
                ),
                io.Combo.Input(
                    "dtype",
                    options=["float32", "float16"],
                    default="float32",
                    tooltip="Number format of the weights. float16 halves the file size with hardly any loss.",
                ),
            ],
            outputs=[],
        )
        return _host.with_aliases(schema, "export upscale model", "convert upscale model", "ONNX", "ncnn", "Upscayl", "chaiNNer")

    @classmethod
    def execute(cls, upscale_model: Model, filename_prefix: str, format: str, dtype: str) -> io.NodeOutput:
        suffix, form = _FORMATS[format]
        path = _host.new_file(filename_prefix, f"x{upscale_model.scale}{suffix}")
        save(upscale_model, path, form=form, dtype=getattr(torch, dtype))
        return io.NodeOutput(ui=_host.show_text(f"{path.name}: checked and saved in {path.parent}", cls))
