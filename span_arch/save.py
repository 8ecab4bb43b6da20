"""Models to files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import save as to_safetensors

from .archs._normalisation import PAPER
from .checkpoints.metadata import KEY, normalisation_text
from .errors import OptionError
from .files import replacing
from .model import FamilyModel
from .reparam import unfuse
from .upscale import Model


def save(
    model: Model,
    path: str | Path,
    *,
    form: Literal["fused", "training"] = "fused",
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> None:
    """Writes a network to a ``.safetensors`` or ``.pth`` file, whole or not at all.

    Args:
        model: a network of the family, as `load` gives it; not changed.
        path: where to; the suffix chooses the container.
        form: ``"fused"``, small, as challenge files are; or ``"training"``, with the branches of every convolution, which
            spandrel reads, and with it chaiNNer and ComfyUI's own loader. Both compute exactly the same.
        dtype: the type of the tensors in the file; None leaves it as it is.
        metadata: what a safetensors file shall say of itself beside architecture, scale and normalisation, which it always
            tells. None: what the model's own file said.
        overwrite: whether a file that exists already may be replaced.

    Raises:
        OptionError: the model is not of the family, form or suffix are none of those above, the architecture has no training form,
            or a .pth file could not say which normalisation the network expects.
        OutputError: the file exists, or cannot be written.
    """
    target = Path(path)
    if not isinstance(model, FamilyModel):
        raise OptionError(
            f"Only networks of the SPAN family can be saved, and this one is {model.architecture.name}. Get one from span_arch.load()."
        )
    if form not in ("fused", "training"):
        raise OptionError(f"The form '{form}' is unknown; expected 'fused' or 'training'.")
    if form == "training" and not model.record.has_training_form:
        raise OptionError(f"{model.record.name} is known in its fused form only, and no program reads another. Save it with form='fused'.")
    if target.suffix.lower() not in (".safetensors", ".pth"):
        raise OptionError(f"'{target}' ends in '{target.suffix}'; expected .safetensors or .pth.")
    if target.suffix.lower() == ".pth" and model.normalisation not in (None, PAPER):
        raise OptionError(
            f"The network normalises its images by {model.normalisation}, which a .pth file has no room to say: read again, it would be "
            "taken for the paper's. Save it as .safetensors."
        )
    state = model.model.state_dict()
    state = {key: tensor.detach().to("cpu", dtype) for key, tensor in (unfuse(state) if form == "training" else state).items()}
    with replacing(target, overwrite=overwrite) as temporary:
        if target.suffix.lower() == ".pth":
            torch.save(state, temporary)
        else:
            said = metadata if metadata is not None else model.source.metadata if model.source is not None else dict[str, str]()
            data = to_safetensors({key: tensor.contiguous() for key, tensor in state.items()}, {**said, **_facts(model)})
            temporary.write_bytes(_in_order(data))


def _facts(model: FamilyModel) -> dict[str, str]:
    return {
        "format": "pt",  # what safetensors itself asks for
        "architecture": model.record.name,
        "scale": str(model.scale),
        KEY: normalisation_text(model.normalisation),
    }


def _in_order(data: bytes) -> bytes:
    """The same safetensors file with its metadata sorted. The library leaves them in random order, so no two files are alike."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    metadata = dict(sorted(header.pop("__metadata__").items()))
    text = json.dumps({"__metadata__": metadata, **header}, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the format wants the tensors aligned
    return len(text).to_bytes(8, "little") + text + data[start:]
