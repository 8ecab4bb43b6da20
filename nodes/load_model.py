"""Load SPAN Model."""

from __future__ import annotations

from comfy_api.latest import io

from ..span_arch import builtin_names, load
from ..span_arch.archs.normalisation import IMAGENET, NAMED
from ..span_arch.checkpoints.model_metadata import normalisation_text
from . import _host


class LoadSPANModel(io.ComfyNode):
    """A network of the SPAN family from a file, or one of those that come with the pack."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LoadSPANModel",
            display_name="Load SPAN Model",
            category="loaders",
            description="Loads a super-resolution network of the SPAN family. The official networks come with the pack, so that nothing "
            "needs to be downloaded. The model works in every node that upscales with a model.",
            inputs=[
                io.Combo.Input(
                    "model_name",
                    options=[*builtin_names(), *_host.model_files()],
                    default="spanx4_ch52",
                    tooltip="First the authors' own networks, x2 and x4 (ch48 is a little faster, but hard edges of drawings may break in "
                    "it), then your files in models/upscale_models: .safetensors, .pth, .pt, .ckpt, .onnx and ncnn pairs.",
                ),
                _host.advanced(
                    io.Combo.Input(
                        "normalise",
                        options=["auto", *NAMED, "custom"],
                        default="auto",
                        optional=True,
                        tooltip="What the model does to its image first. auto: as its file states; where it does not, the model is asked "
                        "with a small picture. Only if colours come out wrong is there something to choose here.",
                    )
                ),
                _host.advanced(
                    io.String.Input(
                        "mean_and_range",
                        default=normalisation_text(IMAGENET),
                        optional=True,
                        tooltip="With custom: the mean of R, G and B, and the range, as the model was trained with; four numbers.",
                    )
                ),
            ],
            outputs=[io.UpscaleModel.Output(display_name="upscale_model", tooltip="For SPAN Upscale, or Upscale Image (using Model).")],
        )
        return _host.found_by(schema, "upscaler", "upscale model", "super-resolution", "SPANPlus", "SPANF", "ESPAN", "ncnn", "ONNX")

    @classmethod
    def fingerprint_inputs(cls, model_name: str, **others: str) -> str:
        """Differs once a file has been replaced, so that it is loaded again."""
        path = _host.model_path(model_name)
        if path is None:
            return model_name
        files = [file.stat() for file in (path, path.with_suffix(".bin")) if file.exists()]
        return " ".join([model_name, *(f"{file.st_mtime_ns} {file.st_size}" for file in files)])

    @classmethod
    def execute(cls, model_name: str, normalise: str = "auto", mean_and_range: str = "") -> io.NodeOutput:
        wish = mean_and_range if normalise == "custom" else normalise
        return io.NodeOutput(_host.adopt(load(_host.model_path(model_name) or model_name, normalise=wish)))
