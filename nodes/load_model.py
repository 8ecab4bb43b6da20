"""The node Load SPAN Model."""

from __future__ import annotations

from comfy_api.latest import io

from ..span_arch import FamilyModel, builtin_names, load
from ..span_arch.archs.normalisation import IMAGENET, NAMED
from ..span_arch.checkpoints.model_metadata import normalisation_text
from ..span_arch.errors import CheckpointNotFoundError
from ..span_arch.models.catalogue import find_known
from . import _host


class LoadSPANModel(io.ComfyNode):
    """A node that loads an upscale model, built in or from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="LoadSPANModel",
            display_name="Load SPAN Model",
            category="loaders",
            description="Load a super-resolution network, built in or from a file: of the SPAN family, or any other upscale model such as "
            "ESRGAN or DAT. The model works in every node that takes an upscale model.",
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.Combo.Input(
                    "model_name",
                    options=[*builtin_names(), *_host.model_files()],
                    default="spanx4_ch52",
                    tooltip="Built-in network, or a file in models/upscale_models. ch52 is safer for drawings; ch48 is slightly faster.",
                ),
                _host.advanced(
                    io.Combo.Input(
                        "normalise",
                        options=["auto", *NAMED, "custom"],
                        default="auto",
                        optional=True,
                        tooltip="How the model normalises its input image. Keep auto unless the colours come out wrong.",
                    )
                ),
                _host.advanced(
                    io.String.Input(
                        "mean_and_range",
                        default=normalisation_text(IMAGENET),
                        optional=True,
                        tooltip="Mean of R, G and B, then the range, used when normalise is custom.",
                    )
                ),
                _host.advanced(
                    io.Boolean.Input(
                        "bounded",
                        default=True,
                        optional=True,
                        tooltip="Keep text, dithering and noise from turning into garbage. Off runs SPAN networks as they were trained.",
                    )
                ),
            ],
            outputs=[
                io.UpscaleModel.Output(
                    display_name="upscale_model", tooltip="Model for SPAN Upscale or any other node that takes an upscale model."
                )
            ],
        )
        return _host.with_aliases(
            schema,
            "upscaler",
            "upscale model",
            "super-resolution",
            "SPANPlus",
            "SPANF",
            "ESPAN",
            "SPANV2",
            "DSCF",
            "ESRGAN",
            "ncnn",
            "ONNX",
        )

    @classmethod
    def fingerprint_inputs(cls, model_name: str, **others: str) -> str:
        """Return a value that changes when the file is replaced, so that the host loads it again."""
        path = _host.model_path(model_name)
        if path is None:
            return model_name
        files = [file.stat() for file in (path, path.with_suffix(".bin")) if file.exists()]
        return " ".join([model_name, *(f"{file.st_mtime_ns} {file.st_size}" for file in files)])

    @classmethod
    def validate_inputs(cls, model_name: str = "") -> bool | str:
        """Return True, or what to do about a model that is missing. The host gives no name if another node provides it."""
        if not model_name or model_name in builtin_names() or _host.model_path(model_name) is not None:
            return True
        known = find_known(model_name)
        if known is None or known.builtin:
            return f"{model_name} is not in models/upscale_models. Put the file there and press R, or choose another model."
        return (
            f"{model_name} is not in models/upscale_models. It is {known.name} by {known.author}, licence: {known.licence_text}. "
            f"Download it from {known.page} into that folder, press R and choose it."
        )

    @classmethod
    def execute(cls, model_name: str, normalise: str = "auto", mean_and_range: str = "", bounded: bool = True) -> io.NodeOutput:
        if isinstance(problem := cls.validate_inputs(model_name), str):  # some hosts do not validate
            raise CheckpointNotFoundError(problem)
        chosen = mean_and_range if normalise == "custom" else normalise
        model = load(_host.model_path(model_name) or model_name, normalise=chosen, bounded=bounded)
        return io.NodeOutput(_host.manage(model), ui=_host.show_text(model.warning if isinstance(model, FamilyModel) else "", cls))
