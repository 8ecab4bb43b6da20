"""Save models to files, for this library and for other programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from .._util.files import replacing
from .._util.text import join_words
from ..archs.bounds import limits_text
from ..archs.normalisation import PAPER, Normalisation
from ..archs.reparam import unfuse
from ..checkpoints.model_metadata import KEY, LIMITS_KEY, normalisation_text
from ..checkpoints.ncnn_writer import to_ncnn
from ..checkpoints.onnx_writer import write_onnx
from ..checkpoints.safetensors_file import write_safetensors
from ..errors import OptionError
from .build import FamilyModel, Model, adopt, from_state_dict
from .load import load
from .other_families import source_of
from .verify import verify_here, verify_in_ncnn, verify_in_onnxruntime, verify_in_spandrel, verify_weights

Form = Literal["fused", "training"]


def save(
    model: Model,
    path: str | Path,
    *,
    form: Form = "fused",
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> None:
    """Save a model to a file, completely or not at all. Models outside the family go to ``.safetensors`` and ``.pth`` as they are.

    The new file takes its place only after a check: the programs that it is meant for load it, run it on a small test image, and
    compare the results with the model's. This library loads ``.safetensors`` and ``.pth``, spandrel the training form of SPAN,
    onnxruntime ``.onnx``, and ncnn its pairs.

    Args:
        model: any spandrel image model, from this or another loader. Not changed.
        path: the file. Its suffix selects the container: ``.safetensors``, ``.pth``, ``.onnx`` (with dynamic batch, height and
            width), or ``.param``, which with its ``.bin`` is an ncnn pair, as Upscayl takes custom models.
        form: ``"fused"``, small, as challenge files are, or ``"training"``, with branches, which spandrel, chaiNNer and ComfyUI's
            own loader need. Both compute exactly the same. spandrel only knows the paper's normalisation. Another one is folded
            into the first convolution, which is exact except for one pixel at the border. Only ``.safetensors`` and ``.pth``
            have a training form.
        dtype: the type of the tensors in the file. None keeps the model's, which is float32 after `load`.
        metadata: metadata for ``.safetensors`` and ``.onnx``, in addition to architecture, scale and normalisation. None copies
            that of the file that the model was loaded from, and adds that file's checksum.
        overwrite: replace an existing file.

    Raises:
        OptionError: an option is invalid, or the container cannot hold this network.
        MissingExtraError: a package that writes or verifies the container is not installed.
        VerificationError: the saved file gives another image than the model.
        OutputError: the file exists already or cannot be written.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    family = adopt(model)
    write = _WRITERS.get(suffix)
    if write is None:
        raise OptionError(f"The suffix '{target.suffix}' of {target} is unknown. Expected {join_words(list(_WRITERS))}.")
    if form not in ("fused", "training"):
        raise OptionError(f"The form '{form}' is unknown. Expected 'fused' or 'training'.")
    if not isinstance(family, FamilyModel):
        _save_other(family, target, form, dtype, metadata, overwrite=overwrite)
        return
    if form == "training" and not family.record.has_training_form:
        raise OptionError(f"{family.record.name} networks have no training form, and no program reads one. Use the form 'fused'.")
    if form == "training" and suffix not in _WITH_FORMS:
        raise OptionError(f"A {suffix} file cannot hold a training form. Use {join_words(_WITH_FORMS)}, or the form 'fused'.")
    suffixes = (".bin", ".param") if suffix == ".param" else (target.suffix,)
    with ExitStack() as stack:
        files = {name.lower(): stack.enter_context(replacing(target.with_suffix(name), overwrite=overwrite)) for name in suffixes}
        write(_Export(family, form, dtype, {**_origin(family, metadata), **_facts(family, form)}, files))


@dataclass(frozen=True)
class _Export:
    """A model, its options, and the temporary files to write it to."""

    model: FamilyModel
    form: Form
    dtype: torch.dtype | None
    metadata: Mapping[str, str]
    files: Mapping[str, Path]
    """The temporary files by suffix."""

    @property
    def state(self) -> dict[str, Tensor]:
        """The state dict to write."""
        state = self.model.model.state_dict()
        if self.form == "training":
            state = unfuse(_with_paper_normalisation(state, self.model.normalisation))
        return self._rounded(state)

    @property
    def expected(self) -> FamilyModel:
        """The model that the file should give, with weights rounded to the type of the file."""
        if self.dtype is None:
            return self.model
        limits, state = self.model.limits, self._rounded(self.model.model.state_dict())
        return from_state_dict(state, normalise=self.model.normalisation, bounded=limits is not None, limits=limits)

    @property
    def folded(self) -> bool:
        """True if the normalisation is folded into the first convolution, which is not exact at the border."""
        return self.form == "training" and self.model.normalisation not in (None, PAPER)

    def _rounded(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {key: tensor.detach().to("cpu", self.dtype) for key, tensor in state.items()}


def _write_safetensors(export: _Export) -> None:
    write_safetensors(export.files[".safetensors"], export.state, export.metadata)
    _verify_state(export, export.files[".safetensors"])


def _write_pth(export: _Export) -> None:
    with export.files[".pth"].open("wb") as file:  # given a path, torch would write the temporary name into the archive
        torch.save(export.state, file)
    if not export.folded and getattr(load(export.files[".pth"]), "normalisation", None) != export.model.normalisation:
        raise OptionError(
            f"A .pth file cannot state the normalisation {export.model.normalisation} of this network, and loading cannot measure it. "
            "Use .safetensors."
        )
    _verify_state(export, export.files[".pth"])


def _verify_state(export: _Export, file: Path) -> None:
    verify_here(file, export.expected, exact=not export.folded)
    if export.form == "training":
        verify_in_spandrel(file, export.expected, exact=not export.folded)


def _write_onnx(export: _Export) -> None:
    model, file, dtype = export.model, export.files[".onnx"], export.dtype or torch.float32
    unit = model.size_requirements.multiple_of
    write_onnx(file, model.model, channels=model.input_channels, scale=model.scale, unit=unit, dtype=dtype, metadata=export.metadata)
    verify_in_onnxruntime(file, export.expected, exact=dtype is torch.float32)


def _write_ncnn(export: _Export) -> None:
    text, weights = to_ncnn(export.model.model, export.dtype or torch.float32)
    export.files[".param"].write_text(text, "utf-8")
    export.files[".bin"].write_bytes(weights)
    verify_in_ncnn(export.files[".param"], export.files[".bin"], export.expected)


_WRITERS: dict[str, Callable[[_Export], None]] = {
    ".safetensors": _write_safetensors,
    ".pth": _write_pth,
    ".onnx": _write_onnx,
    ".param": _write_ncnn,
}
_WITH_FORMS = (".safetensors", ".pth")


def _save_other(
    model: Model, target: Path, form: Form, dtype: torch.dtype | None, metadata: Mapping[str, str] | None, *, overwrite: bool
) -> None:
    """Save the weights of a model of another family. They already are what every loader takes."""
    name, suffix = model.architecture.name, target.suffix.lower()
    if form == "training":
        raise OptionError(f"{name} models have no training form. Use the form 'fused', which writes the weights as they are.")
    if suffix not in _WITH_FORMS:
        raise OptionError(
            f"{target} cannot hold the {name} model: only the SPAN family has a {suffix} writer. Use {join_words(_WITH_FORMS)}."
        )
    state = {key: tensor.detach().cpu() for key, tensor in model.model.state_dict().items()}
    state = {key: tensor.to(dtype) if dtype and tensor.is_floating_point() else tensor for key, tensor in state.items()}
    facts = {**_origin(model, metadata), "architecture": name, "scale": str(model.scale)}
    with replacing(target, overwrite=overwrite) as file:
        if suffix == ".safetensors":
            write_safetensors(file, state, facts)
        else:
            with file.open("wb") as opened:
                torch.save(state, opened)
        verify_weights(file, state)


def _origin(model: Model, metadata: Mapping[str, str] | None) -> Mapping[str, str]:
    if metadata is not None or (source := source_of(model)) is None:
        return metadata or {}
    return {key: text for key, text in source.metadata.items() if key != LIMITS_KEY} | {"source_sha256": source.sha256}


def _facts(model: FamilyModel, form: Form) -> dict[str, str]:
    normalisation, limits = model.normalisation, model.limits
    return {
        **({} if limits is None else {LIMITS_KEY: limits_text(limits)}),
        "architecture": model.record.name,
        "scale": str(model.scale),
        KEY: normalisation_text(PAPER if form == "training" and normalisation is not None else normalisation),
    }


def _with_paper_normalisation(state: Mapping[str, Tensor], normalisation: Normalisation | None) -> Mapping[str, Tensor]:
    """Return the state dict of the same network with the paper's normalisation in place of its own.

    The convolution's input ``range * (x - mean)`` is ``range / 255`` of the paper's plus a constant, which moves into the bias. At
    the border, the zeros that are padded after the normalisation lack that constant.
    """
    if normalisation is None or normalisation == PAPER:
        return state
    weight = state["conv_1.eval_conv.weight"].double()
    shift = (torch.tensor(PAPER.mean, dtype=torch.double) - torch.tensor(normalisation.mean, dtype=torch.double)) * normalisation.range
    bias = state["conv_1.eval_conv.bias"].double() + weight.sum((2, 3)) @ shift
    return {
        **state,
        "conv_1.eval_conv.weight": (weight * (normalisation.range / PAPER.range)).float(),
        "conv_1.eval_conv.bias": bias.float(),
    }
