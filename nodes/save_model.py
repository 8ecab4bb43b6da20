"""The node Save SPAN Model."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..span_arch import save
from . import _host

_FORMATS: dict[str, dict[str, str]] = {
    "safetensors": {"suffix": ".safetensors"},
    "safetensors, training form": {"suffix": ".safetensors", "form": "training"},
    "pth": {"suffix": ".pth"},
    "pth, training form": {"suffix": ".pth", "form": "training"},
    "onnx": {"suffix": ".onnx"},
    "ncnn": {"suffix": ".param"},
}


class SaveSPANModel(io.ComfyNode):
    """Saves a network of the SPAN family for this pack or another program."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="SaveSPANModel",
            display_name="Save SPAN Model",
            category="loaders",
            description="Save a network of the SPAN family to the output folder, for this pack or another program. The node keeps the file "
            "only if it reproduces the model.",
            is_output_node=True,
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.UpscaleModel.Input("upscale_model", tooltip="Model of the SPAN family to save."),
                io.String.Input(
                    "filename_prefix",
                    default="upscale_models/SPAN",
                    tooltip="Folder and start of the file name; number and scale follow, as in SPAN_00001_x4.",
                ),
                io.Combo.Input(
                    "format",
                    options=list(_FORMATS),
                    default="safetensors",
                    tooltip="File format: safetensors for this pack, training form for chaiNNer, onnx, or ncnn for Upscayl.",
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
        return _host.found_by(schema, "export upscale model", "convert upscale model", "ONNX", "ncnn", "Upscayl", "chaiNNer")

    @classmethod
    def execute(cls, upscale_model, filename_prefix, format, dtype) -> io.NodeOutput:
        options = dict(_FORMATS[format])
        path = _host.new_file(filename_prefix, f"x{upscale_model.scale}{options.pop('suffix')}")
        save(upscale_model, path, dtype=getattr(torch, dtype), **options)
        return io.NodeOutput(ui=_host.shown(f"{path.name}: checked and saved in {path.parent}", cls))
