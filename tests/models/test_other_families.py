"""Models of other architectures through the same door: equal to spandrel's own, with the same errors, and no more dangerous."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from spandrel import ImageModelDescriptor, ModelLoader
from spandrel import architectures as spandrel
from torch import Tensor, nn

import span_arch
from span_arch import cli, errors
from span_arch.cluster.ray_worker import Weights
from span_arch.models.other_families import load_other

from ..batch.sample_files import draw

State = dict[str, Tensor]

NETWORKS: dict[str, Callable[[], nn.Module]] = {  # by spandrel's name of the architecture
    "ESRGAN": lambda: spandrel.ESRGAN.ESRGAN(num_filters=8, num_blocks=1),
    "RealESRGAN Compact": lambda: spandrel.Compact.Compact(num_feat=8, num_conv=2, upscale=2),
    "DAT": lambda: spandrel.DAT.DAT(img_size=8, embed_dim=32, depth=[1], num_heads=[2], split_size=[2, 4]),
    "OmniSR": lambda: spandrel.OmniSR.OmniSR(num_feat=8),
    "PLKSR": lambda: spandrel.PLKSR.RealPLKSR(dim=8, n_blocks=1, dysample=True),
    "RealCUGAN": lambda: spandrel.RealCUGAN.UpCunet2x(),
    "SwinIR": lambda: spandrel.SwinIR.SwinIR(img_size=8, num_heads=[1], window_size=4, embed_dim=8, depths=[1]),
    "DnCNN": lambda: spandrel.DnCNN.DnCNN(nc=8, nb=6),
}
every_network = pytest.mark.parametrize("name", NETWORKS)
pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid", "ignore:Initializing zero-element tensors")


def state_of(name: str) -> State:
    torch.manual_seed(0)
    return NETWORKS[name]().state_dict()


def written(state: State, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, path)
    else:
        torch.save({"params_ema": state}, path)
    return path


@every_network
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_result_equals_that_of_spandrel(name: str, suffix: str, tmp_path: Path) -> None:
    path = written(state_of(name), tmp_path / f"a{suffix}")
    found, expected = span_arch.load(path), ModelLoader().load_from_file(path)
    assert isinstance(expected, ImageModelDescriptor)
    assert (found.architecture.name, found.scale, found.dtype) == (name, expected.scale, torch.float32)
    assert not any(parameter.requires_grad for parameter in found.model.parameters())
    image = torch.rand(1, 24, 20, found.input_channels)
    wanted = expected(image.movedim(-1, 1)).movedim(1, -1)
    torch.testing.assert_close(span_arch.upscale(found, image), wanted, atol=1e-5, rtol=0)


@every_network
def test_saved_file_holds_the_same_weights(name: str, tmp_path: Path) -> None:
    model = span_arch.load(written(state_of(name), tmp_path / "a.pth"))
    for file, dtype in (("b.safetensors", None), ("c.pth", None), ("d.safetensors", torch.float16)):
        span_arch.save(model, tmp_path / file, dtype=dtype)
        again = span_arch.load(tmp_path / file)
        assert again.architecture.name == name
        for key, tensor in model.model.state_dict().items():
            assert torch.equal(again.model.state_dict()[key], tensor if dtype is None else tensor.to(dtype).to(tensor.dtype))


def test_half_precision_file_loads_as_float32(tmp_path: Path) -> None:
    model = span_arch.load(written({key: tensor.half() for key, tensor in state_of("ESRGAN").items()}, tmp_path / "a.safetensors"))
    assert model.dtype == torch.float32
    info = span_arch.describe(model)
    assert (info.precision, info.more and info.more["container"]) == ("float16", "safetensors")
    assert len(info.sha256) == 64


def test_model_loaded_in_inference_mode_works_outside(tmp_path: Path) -> None:
    path = written(state_of("ESRGAN"), tmp_path / "a.pth")
    with torch.inference_mode():
        model = span_arch.load(path)
    assert not any(tensor.is_inference() for tensor in model.model.state_dict().values())


@every_network
def test_a_worker_of_a_cluster_builds_the_same_model(name: str) -> None:
    model = load_other(state_of(name), "The model")
    assert model is not None
    built, image = Weights.of(model).build(), torch.rand(1, 16, 16, model.input_channels)
    assert torch.equal(span_arch.upscale(built, image), span_arch.upscale(model, image))


@pytest.mark.parametrize("name", ["ESRGAN", "RealESRGAN Compact"])
def test_command_line_opens_every_upscaler(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    written(state_of(name), tmp_path / "a.pth")
    scale = span_arch.load("a.pth").scale
    draw("in.png")
    for suffix in ("LR", "HR"):
        draw(f"a_{suffix}.png", size=(20, 14) if suffix == "LR" else (20 * scale, 14 * scale))
    for command in (
        "info a.pth",
        "convert a.pth b.safetensors",
        "in.png out.png --model b.safetensors",
        "in.png --model a.pth --dry-run",
        "evaluate . --model b.safetensors",
    ):
        assert cli.main(command.split()) == 0, capsys.readouterr().err
    output = capsys.readouterr().out
    assert all(words in output for words in (name, f"x{scale}", "SHA-256", "checked against the model"))
    with Image.open("out.png") as file:
        assert file.size == (20 * scale, 14 * scale)
    assert cli.main(["in.png", "out2.png", "--model", "a.pth", "--normalise", "paper"]) == 2
    assert f"does not apply: {name} models take images as they are" in capsys.readouterr().err
    assert cli.main(["convert", "a.pth", "b.onnx"]) == 2
    assert cli.main(["convert", "a.pth", "b.pth", "--form", "training"]) == 2
    assert not Path("b.onnx").exists()
    assert not Path("b.pth").exists()


def test_span_is_never_left_to_spandrel() -> None:
    assert load_other(span_arch.load("spanx2_ch48").model.state_dict(), "It") is None
    assert load_other({"conv_1.eval_conv.weight": torch.zeros(1, 1, 1, 1)}, "It") is None
    assert load_other({}, "It") is None


def test_model_for_faces_or_masks_is_refused_with_a_reason() -> None:
    faces = spandrel.RestoreFormer.RestoreFormer(ch=32, n_embed=8, ch_mult=(1, 1), num_res_blocks=1)
    with pytest.raises(errors.UnknownArchitectureError, match="RestoreFormer model, which restores faces"):
        load_other(faces.state_dict(), "It")


# Damaged and hostile files


def changed(key: str, tensor: Tensor | None) -> State:
    state = {**state_of("ESRGAN"), key: tensor}
    return {key: tensor for key, tensor in state.items() if tensor is not None}


FIRST = "model.0.weight"
DEEP = "model.1.sub.{}.RDB1.conv1.0.weight"


@pytest.mark.parametrize(
    ("key", "tensor", "words"),
    [
        ("model.1.sub.0.RDB1.conv2.0.weight", None, "Missing key"),
        ("model.9.weight", torch.zeros(1), "Unexpected key"),
        (FIRST, torch.full((8, 3, 3, 3), torch.nan), "216 values that are NaN"),
        (FIRST, torch.zeros(8, 3, 3, 3).to_sparse(), "sparse"),
        (FIRST, torch.empty(8, 3, 3, 3, device="meta"), "without contents"),
        (FIRST, torch.zeros(1).expand(10**4, 10**4, 3, 3), "4 bytes are too few"),
        (FIRST, torch.zeros(8), "faulty weights"),
        (DEEP.format(99999), torch.zeros(1, 1, 1, 1), "count to 99999"),
        (DEEP.format("9" * 5000), torch.zeros(1, 1, 1, 1), "count to 9999"),
    ],
    ids=["missing", "unexpected", "not finite", "sparse", "meta", "view", "flat", "large number", "huge number"],
)
def test_faulty_weights_are_reported(key: str, tensor: Tensor | None, words: str) -> None:
    with pytest.raises(errors.WeightsError, match=words) as caught:
        load_other(changed(key, tensor), "a.pth")
    assert str(caught.value).startswith("a.pth is an ESRGAN checkpoint ")
    assert len(str(caught.value)) < 800


def test_small_file_cannot_ask_for_a_network_that_fills_the_memory() -> None:
    state = {**changed(FIRST, torch.zeros(512, 3, 3, 3)), DEEP.format(2000): torch.zeros(1, 1, 1, 1)}
    with pytest.raises(errors.WeightsError, match="many times the memory of its weights"):
        load_other(state, "a.pth")


class MakesAFolder:
    """An object whose unpickling makes the folder ``made``."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._parent / "made"),)


def test_no_code_in_a_file_is_run(tmp_path: Path) -> None:
    torch.save({**state_of("ESRGAN"), "more": MakesAFolder(tmp_path)}, tmp_path / "a.pth")
    with pytest.raises(errors.UnsafeCheckpointError, match="mkdir"):
        span_arch.load(tmp_path / "a.pth")
    assert not (tmp_path / "made").exists()
