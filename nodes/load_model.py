"""Load SPAN Model."""

from __future__ import annotations

from comfy_api.latest import io

from ..span_arch import builtin_names, load
from . import _host


class LoadSPANModel(io.ComfyNode):
    """A network of the SPAN family from a file, or one of those that come with the pack."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="LoadSPANModel",
            display_name="Load SPAN Model",
            category="loaders",
            description="Loads a super-resolution network of the SPAN family. The official networks come with the pack, so that nothing "
            "needs to be downloaded. The model works in every node that upscales with a model.",
            inputs=[
                io.Combo.Input(
                    "model_name",
                    options=[*builtin_names(), *_host.model_files()],
                    default="spanx4_ch48",
                    tooltip="First the authors' own networks, x2 and x4 (ch52 is a little slower than ch48, and hardly better), then your "
                    "files in models/upscale_models: .safetensors, .pth, .pt, .ckpt and ncnn pairs.",
                ),
            ],
            outputs=[io.UpscaleModel.Output(display_name="upscale_model", tooltip="For SPAN Upscale, or Upscale Image (using Model).")],
        )

    @classmethod
    def fingerprint_inputs(cls, model_name: str) -> str:
        """Differs once a file has been replaced, so that it is loaded again."""
        path = _host.model_path(model_name)
        if path is None:
            return model_name
        files = [file.stat() for file in (path, path.with_suffix(".bin")) if file.exists()]
        return " ".join([model_name, *(f"{file.st_mtime_ns} {file.st_size}" for file in files)])

    @classmethod
    def execute(cls, model_name: str) -> io.NodeOutput:
        return io.NodeOutput(_host.adopt(load(_host.model_path(model_name) or model_name)))
