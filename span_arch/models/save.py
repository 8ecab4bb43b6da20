"""Models to files, for this library and for other programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from .._util.files import replacing
from ..archs.normalisation import PAPER, Normalisation
from ..archs.reparam import unfuse
from ..checkpoints.model_metadata import KEY, normalisation_text
from ..checkpoints.ncnn_writer import to_ncnn
from ..checkpoints.onnx_writer import write_onnx
from ..checkpoints.safetensors_file import write_safetensors
from ..errors import OptionError
from ..models.build import Model
from . import verify
from .build import FamilyModel, adopt, from_state_dict
from .load import load

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
    """Writes a network to a file, whole or not at all.

    What was written is read again by the program that it is for, run on a small picture, and compared; only then is the file
    there: ``.safetensors`` and ``.pth`` are read by this library, SPAN in its training form by spandrel as well, ``.onnx`` by
    onnxruntime, an ncnn pair by ncnn.

    Args:
        model: a network of the family, of this or of another loader; not changed.
        path: where to; the suffix chooses the container: ``.safetensors``, ``.pth``, ``.onnx`` (with free batch, height and width), or
            ``.param``, which is an ncnn pair with its ``.bin``, as Upscayl takes custom models.
        form: ``"fused"``, small, as challenge files are; or ``"training"``, with the branches of every convolution, which
            spandrel reads, and with it chaiNNer and ComfyUI's own loader. Both compute exactly the same. spandrel knows the
            paper's normalisation and none: another one goes into the first convolution, which is exact but for one pixel at
            the border. For ``.safetensors`` and ``.pth`` only.
        dtype: the type of the tensors in the file; None leaves it as it is, float32 after `load`.
        metadata: what ``.safetensors`` and ``.onnx`` shall say of themselves beside architecture, scale and normalisation, which they
            always tell. None: what the model's own file said, and that file's checksum.
        overwrite: whether files that exist already may be replaced.

    Raises:
        OptionError: the model is not of the family; form, type or suffix are none of those above; or the container has no
            room for what this network is.
        MissingExtraError: a package that writes or reads the container is not installed.
        VerificationError: the file was read again and gave another picture; nothing is left of it.
        OutputError: a file exists, or cannot be written.
    """
    target = Path(path)
    family = _family(model)
    write = _WRITERS.get(target.suffix.lower())
    if write is None:
        raise OptionError(f"'{target}' ends in '{target.suffix}'; expected {', '.join(list(_WRITERS)[:-1])} or {list(_WRITERS)[-1]}.")
    if form not in ("fused", "training"):
        raise OptionError(f"The form '{form}' is unknown; expected 'fused' or 'training'.")
    if form == "training":
        if not family.record.has_training_form:
            raise OptionError(
                f"{family.record.name} is known in its fused form only, and no program reads another. Save it with form='fused'."
            )
        if target.suffix.lower() not in _WITH_FORMS:
            raise OptionError(f"'{target}': a training form is for {' and '.join(_WITH_FORMS)}; other containers hold what is computed.")
    suffixes = (".bin", ".param") if target.suffix.lower() == ".param" else (target.suffix,)
    with ExitStack() as stack:
        temporary = {suffix.lower(): stack.enter_context(replacing(target.with_suffix(suffix), overwrite=overwrite)) for suffix in suffixes}
        write(_Job(family, form, dtype, {**_said(family, metadata), **_facts(family, form)}, temporary))


@dataclass(frozen=True)
class _Job:
    """What is to be written, and where to."""

    model: FamilyModel
    form: Form
    dtype: torch.dtype | None
    metadata: Mapping[str, str]
    files: Mapping[str, Path]
    """Temporary ones, by suffix."""

    @property
    def state(self) -> dict[str, Tensor]:
        state = self.model.model.state_dict()
        if self.form == "training":
            state = unfuse(_for_spandrel(state, self.model.normalisation))
        return {key: tensor.detach().to("cpu", self.dtype) for key, tensor in state.items()}

    @property
    def expected(self) -> FamilyModel:
        """The model as the file is to give it: with its weights rounded to the type of the file."""
        if self.dtype is None:
            return self.model
        rounded = {key: tensor.detach().to("cpu", self.dtype) for key, tensor in self.model.model.state_dict().items()}
        return from_state_dict(rounded, normalise=self.model.normalisation)

    @property
    def folded(self) -> bool:
        """Whether the normalisation goes into the first convolution, which is not exact at the border."""
        return self.form == "training" and self.model.normalisation not in (None, PAPER)


def _write_safetensors(job: _Job) -> None:
    write_safetensors(job.files[".safetensors"], job.state, job.metadata)
    _try(job, job.files[".safetensors"])


def _write_pth(job: _Job) -> None:
    with job.files[".pth"].open("wb") as file:  # given a path, torch would write the temporary name into the archive
        torch.save(job.state, file)
    if not job.folded and load(job.files[".pth"]).normalisation != job.model.normalisation:
        raise OptionError(
            f"The network normalises its images by {job.model.normalisation}. A .pth file has no room to say so, and a probe of the "
            "network does not find it. Save it as .safetensors."
        )
    _try(job, job.files[".pth"])


def _try(job: _Job, file: Path) -> None:
    verify.own(file, job.expected, exact=not job.folded)
    if job.form == "training":
        verify.spandrel(file, job.expected, exact=not job.folded)


def _write_onnx(job: _Job) -> None:
    model, dtype = job.model, job.dtype or torch.float32
    unit = model.size_requirements.multiple_of
    write_onnx(
        job.files[".onnx"], model.model, channels=model.input_channels, scale=model.scale, unit=unit, dtype=dtype, metadata=job.metadata
    )
    verify.onnxruntime(job.files[".onnx"], job.expected, exact=dtype is torch.float32)


def _write_ncnn(job: _Job) -> None:
    text, weights = to_ncnn(job.model.model, job.dtype or torch.float32)
    job.files[".param"].write_text(text, "utf-8")
    job.files[".bin"].write_bytes(weights)
    verify.ncnn(job.files[".param"], job.files[".bin"], job.expected)


_WRITERS: dict[str, Callable[[_Job], None]] = {
    ".safetensors": _write_safetensors,
    ".pth": _write_pth,
    ".onnx": _write_onnx,
    ".param": _write_ncnn,
}
_WITH_FORMS = (".safetensors", ".pth")


def _family(model: Model) -> FamilyModel:
    adopted = adopt(model)
    if not isinstance(adopted, FamilyModel):
        raise OptionError(
            f"Only networks of the SPAN family can be saved, and this one is {model.architecture.name}. Get one from span_arch.load()."
        )
    return adopted


def _said(model: FamilyModel, metadata: Mapping[str, str] | None) -> Mapping[str, str]:
    if metadata is not None or model.source is None:
        return metadata or {}
    return {**model.source.metadata, "source_sha256": model.source.sha256}


def _facts(model: FamilyModel, form: Form) -> dict[str, str]:
    normalisation = model.normalisation
    return {
        "architecture": model.record.name,
        "scale": str(model.scale),
        KEY: normalisation_text(PAPER if form == "training" and normalisation is not None else normalisation),
    }


def _for_spandrel(state: Mapping[str, Tensor], normalisation: Normalisation | None) -> Mapping[str, Tensor]:
    """The state dict of the same network with the paper's normalisation in place of its own.

    What the convolution is given, ``range * (x - mean)``, is ``range / 255`` of what the paper's gives, and a constant more, which
    the bias takes. At the border, where zeros are padded after the normalisation, that constant is too much.
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
