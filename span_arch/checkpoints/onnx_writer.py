"""Networks to ONNX files by PyTorch's exporter, with free batch, height and width."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._util import process
from .._util.extras import require_extra
from ..errors import OptionError

INPUT, OUTPUT = "input", "output"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""The packages that write ONNX and check the result."""

_OPSET = 18


def write_onnx(
    path: Path, network: nn.Module, *, channels: int, scale: int, unit: int, dtype: torch.dtype, metadata: Mapping[str, str]
) -> None:
    """Write a network with its weights, which keep their attribute paths as names.

    Args:
        path: the file, which is overwritten.
        network: (B, channels, H, W) -> (B, ..., H * scale, W * scale); on the CPU, not changed.
        channels: of the image.
        scale: of the network.
        unit: the network needs multiples of this for H and W. The graph takes any size and pads the image by mirroring it.
        dtype: of weights, image and result, float32 or float16.
        metadata: for the file.

    Raises:
        MissingExtraError: a package that PyTorch's exporter needs is not installed.
        OptionError: the dtype is another.
    """
    if dtype not in (torch.float32, torch.float16):
        raise OptionError(f"ONNX stores weights as float32 or float16, not as {str(dtype).removeprefix('torch.')}.")
    onnx = require_extra("onnx", "to write ONNX files", PACKAGES)
    require_extra("onnxscript", "to write ONNX files", PACKAGES)
    exported = copy.deepcopy(network).to(dtype)
    image = torch.rand(2, channels, 24, 32, dtype=dtype)
    free = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    with process.log_level(logging.ERROR, "torch.onnx"), process.discarded_stdout(), process.ignored_warnings():
        program: Any = torch.onnx.export(
            exported if unit == 1 else _AnySize(exported, scale, unit),
            (image,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=_OPSET,
            dynamo=True,
            dynamic_shapes=(free if unit == 1 else dict.fromkeys(free, torch.export.Dim.DYNAMIC),),
            optimize=False,  # it would fold weights together, and lose their names
        )
    proto = program.model_proto
    onnx.helper.set_model_props(proto, {key: value for key, value in metadata.items() if key != "format"})
    path.write_bytes(proto.SerializeToString())


class _AnySize(nn.Module):
    """A network that takes images of any size and mirrors them at the right and the bottom."""

    def __init__(self, network: nn.Module, scale: int, unit: int) -> None:
        super().__init__()
        self.network, self.scale, self.unit = network, scale, unit

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[2:]
        padded = F.pad(image, (0, -width % self.unit, 0, -height % self.unit), "reflect")
        return self.network(padded)[:, :, : height * self.scale, : width * self.scale]
