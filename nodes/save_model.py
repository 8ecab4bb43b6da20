"""Save SPAN Model."""

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
    """A network of the SPAN family as a file, for this pack or for another program."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="SaveSPANModel",
            display_name="Save SPAN Model",
            category="loaders",
            description="Writes a network of the SPAN family to a file for this pack or for another program, tries it there on a small "
            "picture, and compares. The file goes into the output folder.",
            is_output_node=True,
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.UpscaleModel.Input("upscale_model", tooltip="A model of the SPAN family, from Load SPAN Model or another loader."),
                io.String.Input(
                    "filename_prefix",
                    default="upscale_models/SPAN",
                    tooltip="Folder and beginning of the name, in the output folder. A number and the scale follow, as in SPAN_00001_x4.",
                ),
                io.Combo.Input(
                    "format",
                    options=list(_FORMATS),
                    default="safetensors",
                    tooltip="safetensors: small, for this pack. Training form: for chaiNNer, spandrel, ComfyUI without this pack. onnx: "
                    "for onnxruntime, OpenVINO, TensorRT. ncnn: for Upscayl.",
                ),
                io.Combo.Input(
                    "dtype",
                    options=["float32", "float16"],
                    default="float32",
                    tooltip="Type of the weights. float16 halves the file and is usual for ncnn; the pictures hardly differ.",
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
        return io.NodeOutput(ui=_host.shown(f"{path.name}: tried, and saved in {path.parent}", cls))
