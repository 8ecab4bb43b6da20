"""Check that a saved file reproduces its model in the programs that it is meant for.

Each check raises a `VerificationError` if the program cannot load the file or its result differs from the model's. It raises a
`MissingExtraError` if the program is not installed.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from spandrel import MAIN_REGISTRY, ImageModelDescriptor, ModelLoader
from torch import Tensor

from .._util.extras import require_extra
from ..archs.bounds import set_limits
from ..checkpoints.onnx_writer import PACKAGES
from ..errors import VerificationError
from .build import FamilyModel
from .load import load
from .normalisation_probe import probe_image
from .spandrel_compat import pad

_MIN_PSNR = 50.0
"""Decibels between the results of two programs, if weights or arithmetic are rounded differently."""

_MAX_DIFFERENCE = 1e-4
"""The largest difference between the results otherwise, as a share of their range."""


def verify_here(path: Path, model: FamilyModel, *, exact: bool) -> None:
    """Load a file with this library and compare."""
    loaded = cast("FamilyModel", load(path, bounded=model.limits is not None))
    _compare("this library", model, lambda image: _run(loaded, image), exact=exact)


def verify_weights(path: Path, state: Mapping[str, Tensor]) -> None:
    """Load a file of a model outside the family with this library and compare the weights. Some such models add noise to each image."""
    loaded = load(path).model.state_dict()
    if differing := [
        key for key, tensor in state.items() if key not in loaded or not torch.equal(loaded[key], tensor.to(loaded[key].dtype))
    ]:
        raise VerificationError(f"The saved file has other weights than the model, such as {differing[0]}. No file was written.")


def verify_in_spandrel(path: Path, model: FamilyModel, *, exact: bool) -> None:
    """Load a file with spandrel's own SPAN, which has no bounds, and compare. Do nothing for networks that spandrel alone cannot load."""
    h = model.hyperparameters
    if model.record.name != "SPAN" or h["blocks"] != 6 or h["cat_channels"] != h["feature_channels"]:
        return
    state = ModelLoader().load_state_dict_from_file(path)
    loaded = cast("ImageModelDescriptor[Any]", MAIN_REGISTRY["SPAN"].architecture.load(state))
    raw = copy.deepcopy(model.model)
    set_limits(raw, None)
    _compare("spandrel", FamilyModel(raw, model.record, h), lambda image: loaded.model.eval()(image), exact=exact)


def verify_in_onnxruntime(path: Path, model: FamilyModel, *, exact: bool) -> None:
    """Run a file in onnxruntime and compare."""
    runtime = require_extra("onnxruntime", "to verify ONNX files", PACKAGES)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    dtype = torch.float16 if "float16" in entry.type else torch.float32

    def run(image: Tensor) -> Tensor:
        (result,) = session.run(None, {entry.name: image.to(dtype).numpy()})
        return torch.from_numpy(result).float()

    _compare("onnxruntime", model, run, exact=exact)


def verify_in_ncnn(param: Path, weights: Path, model: FamilyModel) -> None:
    """Run a pair in ncnn, on the CPU in float32, and compare."""
    runtime = require_extra("ncnn", "to verify ncnn files")
    net = runtime.Net()
    for option in ("use_vulkan_compute", "use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, option, False)
    if net.load_param(str(param)) or net.load_model(str(weights)):
        raise VerificationError("ncnn cannot load the pair that was saved for it. No file was written.")

    def run(image: Tensor) -> Tensor:
        extractor = net.create_extractor()
        pixels = image[0].contiguous().numpy()  # a name keeps the memory alive, because ncnn only refers to it
        extractor.input("data", runtime.Mat(pixels).clone())
        _, result = extractor.extract("output")
        return torch.from_numpy(result.numpy().copy())[None]

    _compare("ncnn", model, run, exact=False)


def _compare(program: str, model: FamilyModel, run: Callable[[Tensor], Tensor], *, exact: bool) -> None:
    for height, width in ((32, 32), (21, 30)):
        image = probe_image(model.input_channels)[:, :, :height, :width]
        with torch.no_grad():
            _check_agreement(program, run(image), _run(model, image), exact=exact)


def _run(model: FamilyModel, image: Tensor) -> Tensor:
    """Return the network's result, not clamped."""
    height, width = (side * model.scale for side in image.shape[2:])
    return model.model(pad(image, model.size_requirements))[:, :, :height, :width]


def _check_agreement(program: str, found: Tensor, expected: Tensor, *, exact: bool) -> None:
    spread = max(1.0, float(expected.max() - expected.min()))
    difference = (found - expected).abs() / spread if found.shape == expected.shape else torch.tensor(math.inf)
    psnr = -10 * math.log10(max(float(difference.double().square().mean()), 1e-20))
    if not (float(difference.max()) <= _MAX_DIFFERENCE if exact else psnr >= _MIN_PSNR):
        limit = f"at most {_MAX_DIFFERENCE:g}" if exact else f"at least {_MIN_PSNR:g} dB"
        raise VerificationError(
            f"The saved file gives another image in {program}: {psnr:.1f} dB, with differences up to {float(difference.max()):.2g}. "
            f"Expected {limit}. No file was written."
        )
