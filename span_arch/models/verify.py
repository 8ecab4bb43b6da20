"""Whether a file that was written does, in the program that it is for, what the model does that it was written from."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from spandrel import MAIN_REGISTRY, ImageModelDescriptor, ModelLoader
from torch import Tensor

from .._util.extras import require_extra
from ..checkpoints.onnx_writer import PACKAGES
from ..errors import VerificationError
from .build import FamilyModel
from .load import load
from .normalisation_probe import picture

LEAST = 50.0
"""Decibels between two pictures of the same network in two programs, where weights or arithmetic are rounded differently."""

_EXACT = 1e-4
"""The largest difference, as a share of the range of the picture, where they are not."""


def own(path: Path, model: FamilyModel, *, exact: bool) -> None:
    """Compares with what this library reads.

    Raises:
        VerificationError: it gives another picture.
    """
    again = load(path)
    _compare("this library", model, lambda image: _run(again, image), exact=exact)


def spandrel(path: Path, model: FamilyModel, *, exact: bool) -> None:
    """Compares with what spandrel makes of it, untaught. Where it has no such architecture, there is nothing to compare.

    Raises:
        VerificationError: it gives another picture.
    """
    h = model.hyperparameters
    if model.record.name != "SPAN" or h["blocks"] != 6 or h["cat_channels"] != h["feature_channels"]:
        return
    state = ModelLoader().load_state_dict_from_file(path)
    theirs = cast("ImageModelDescriptor[Any]", MAIN_REGISTRY["SPAN"].architecture.load(state))
    _compare("spandrel", model, lambda image: theirs.model.eval()(image), exact=exact)


def onnxruntime(path: Path, model: FamilyModel, *, exact: bool) -> None:
    """Compares with what onnxruntime computes, at two sizes.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        VerificationError: it gives another picture.
    """
    runtime = require_extra("onnxruntime", "to verify ONNX files", PACKAGES)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    dtype = torch.float16 if "float16" in entry.type else torch.float32

    def run(image: Tensor) -> Tensor:
        (result,) = session.run(None, {entry.name: image.to(dtype).numpy()})
        return torch.from_numpy(result).float()

    _compare("onnxruntime", model, run, exact=exact)


def ncnn(param: Path, weights: Path, model: FamilyModel) -> None:
    """Compares with what ncnn computes on the CPU in float32.

    Raises:
        MissingExtraError: ncnn is not installed.
        VerificationError: it gives another picture.
    """
    runtime = require_extra("ncnn", "to verify ncnn files")
    net = runtime.Net()
    for option in ("use_vulkan_compute", "use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, option, False)
    if net.load_param(str(param)) or net.load_model(str(weights)):
        raise VerificationError("ncnn does not load the pair that was written for it. Nothing is left of it.")

    def run(image: Tensor) -> Tensor:
        extractor = net.create_extractor()
        pixels = image[0].contiguous().numpy()  # has a name, since ncnn refers to its memory and does not keep it
        extractor.input("data", runtime.Mat(pixels).clone())
        _, result = extractor.extract("output")
        return torch.from_numpy(result.numpy().copy())[None]

    _compare("ncnn", model, run, exact=False)


def _compare(program: str, model: FamilyModel, run: Callable[[Tensor], Tensor], *, exact: bool) -> None:
    for height, width in ((32, 32), (21, 30)):
        image = picture(model.input_channels)[:, :, :height, :width]
        with torch.no_grad():
            _agree(program, run(image), _run(model, image), exact=exact)


def _run(model: FamilyModel, image: Tensor) -> Tensor:
    """What the network gives, not clamped. Images that are no multiple of its unit are mirrored at the right and the bottom."""
    unit = model.size_requirements.multiple_of
    height, width = image.shape[2:]
    result = model.model(F.pad(image, (0, -width % unit, 0, -height % unit), "reflect"))
    return result[:, :, : height * model.scale, : width * model.scale]


def _agree(program: str, found: Tensor, expected: Tensor, *, exact: bool) -> None:
    spread = max(1.0, float(expected.max() - expected.min()))
    difference = (found - expected).abs() / spread if found.shape == expected.shape else torch.tensor(math.inf)
    psnr = -10 * math.log10(max(float(difference.double().square().mean()), 1e-20))
    if not (float(difference.max()) <= _EXACT if exact else psnr >= LEAST):
        raise VerificationError(
            f"What was written gives another picture in {program}: {psnr:.1f} dB, at most {float(difference.max()):.2g} apart; expected "
            f"{f'{_EXACT:g}' if exact else f'{LEAST:g} dB'}. Nothing is left of the file."
        )
