"""Every container written and read again, and a corpus of files that are not what they seem."""

from __future__ import annotations

import os
import pickle
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import span_arch
from span_arch import checkpoints, errors
from span_arch.archs.span import SPAN

State = dict[str, torch.Tensor]


def state(**hyperparameters: object) -> State:
    torch.manual_seed(0)
    return SPAN(**({"feature_channels": 4, "blocks": 4, "scale": 2} | hyperparameters)).state_dict()


WRAPPERS: dict[str, Callable[[State], object]] = {
    "bare": lambda s: s,
    "params_ema": lambda s: {"params": {key: tensor * 2 for key, tensor in s.items()}, "params_ema": s},
    "params": lambda s: {"params": s},
    "state_dict": lambda s: {"state_dict": s, "epoch": 7, "optimizer": {"lr": 0.1}},
    "module": lambda s: {f"module.{key}": tensor for key, tensor in s.items()},
    "half": lambda s: {key: tensor.half() for key, tensor in s.items()},
}


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt"])
@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
def test_pickle_loads_in_every_wrapper(tmp_path: Path, suffix: str, wrapper: str, zipped: bool) -> None:
    path = tmp_path / f"network{suffix}"
    torch.save(WRAPPERS[wrapper](state()), path, _use_new_zipfile_serialization=zipped)
    loaded = span_arch.load(path).model.state_dict()
    for key, tensor in state().items():
        torch.testing.assert_close(loaded[key], tensor.half().float() if wrapper == "half" else tensor, atol=0, rtol=0)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("form", ["fused", "training"])
def test_saved_model_is_loaded_as_it_was(tmp_path: Path, suffix: str, form: str) -> None:
    model = span_arch.from_state_dict(state())
    span_arch.save(model, tmp_path / f"network{suffix}", form=form)
    loaded = span_arch.load(tmp_path / f"network{suffix}")
    assert loaded.source.form == form
    assert all(torch.equal(tensor, loaded.model.state_dict()[key]) for key, tensor in model.model.state_dict().items())
    assert [path.name for path in tmp_path.iterdir()] == [f"network{suffix}"]


def test_either_file_of_an_ncnn_pair_loads_it(ncnn_folder: Path) -> None:
    pair = ncnn_folder / "models" / "spanx2_ch48"
    by_param, by_bin = (span_arch.load(pair.with_suffix(suffix)) for suffix in (".param", ".bin"))
    assert by_param.source.sha256 == by_bin.source.sha256
    assert all(map(torch.equal, by_param.model.state_dict().values(), by_bin.model.state_dict().values()))


def test_existing_file_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "network.pth"
    path.write_text("mine")
    with pytest.raises(errors.OutputError, match="already exists"):
        span_arch.save(span_arch.from_state_dict(state()), path)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("network.pth", "mine")]


def test_file_is_replaced_as_a_whole_and_never_overwritten(tmp_path: Path) -> None:
    path, other_name = tmp_path / "network.pth", tmp_path / "other name.pth"
    path.write_text("mine")
    other_name.hardlink_to(path)
    span_arch.save(span_arch.from_state_dict(state()), path, overwrite=True)
    assert other_name.read_text() == "mine"


def test_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "network.safetensors"
    path.write_text("mine")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(errors.OutputError, match="No space left"):
        span_arch.save(span_arch.from_state_dict(state()), path, overwrite=True)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("network.safetensors", "mine")]


def test_normalisation_that_a_pickle_cannot_store_is_refused(ncnn_folder: Path, tmp_path: Path) -> None:
    truth = ncnn_folder / "models" / "4xSPANkendata.param"
    model = span_arch.load(truth, normalise=((0.3, 0.4, 0.5), 2))
    with pytest.raises(errors.OptionError, match="cannot state the normalisation"):
        span_arch.save(model, tmp_path / "network.pth")
    assert not list(tmp_path.iterdir())
    span_arch.save(model, tmp_path / "network.safetensors")
    assert span_arch.load(tmp_path / "network.safetensors").normalisation == model.normalisation
    span_arch.save(span_arch.load(truth), tmp_path / "network.pth")
    assert span_arch.load(tmp_path / "network.pth").normalisation == span_arch.load(truth).normalisation


class Code:
    """An object that creates a folder when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("it-ran",)


def pickled(value: object, *, zipped: bool = True) -> Callable[[Path], None]:
    return lambda path: torch.save(value, path, _use_new_zipfile_serialization=zipped)


def truncated(write: Callable[[Path], None], share: float) -> Callable[[Path], None]:
    def cut(path: Path) -> None:
        write(path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return cut


def with_tensor(key: str, tensor: torch.Tensor | None) -> Callable[[Path], None]:
    changed = {k: t for k, t in state().items() if k != key}
    return pickled(changed if tensor is None else {**changed, key: tensor})


def folder(path: Path) -> None:
    path.mkdir()


def torchscript(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about TorchScript being deprecated
        torch.jit.save(torch.jit.script(torch.nn.Conv2d(1, 1, 1)), str(path))


GOOD = pickled(state())
BROKEN, WEIGHTS = errors.BrokenCheckpointError, errors.WeightsError
CORPUS: list[tuple[str, Callable[[Path], object], type[errors.SpanArchError], str]] = [
    ("missing.pth", lambda path: None, errors.CheckpointNotFoundError, "does not exist"),
    ("spanx5_ch48", lambda path: None, errors.CheckpointNotFoundError, "spanx4_ch48"),
    ("folder.pth", folder, errors.CheckpointError, "a folder"),
    ("network.zip", GOOD, errors.CheckpointError, r"suffix '\.zip'"),
    ("empty.pth", lambda path: path.write_bytes(b""), BROKEN, "is empty"),
    ("page.pth", lambda path: path.write_text("\n<!DOCTYPE html><html>"), BROKEN, "web page"),
    ("page.safetensors", lambda path: path.write_text("<html>"), BROKEN, "web page"),
    ("lfs.pth", lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid"), BROKEN, "git lfs pull"),
    ("cut.pth", truncated(GOOD, 0.6), BROKEN, "is truncated"),
    ("cut-old.pth", truncated(pickled(state(), zipped=False), 0.6), BROKEN, "download"),
    ("noise.pth", lambda path: path.write_bytes(bytes(range(256)) * 40), BROKEN, "cannot be read"),
    ("text.pth", lambda path: path.write_text("not found"), BROKEN, "cannot be read"),
    ("cut.safetensors", truncated(lambda path: save_file(state(), path), 0.5), BROKEN, "download"),
    ("liar.safetensors", lambda path: path.write_bytes((2**60).to_bytes(8, "little") + b"{}"), BROKEN, "not a valid safetensors"),
    ("code.pth", pickled({"params": state(), "code": Code()}), errors.UnsafeCheckpointError, "mkdir"),
    ("code-old.pth", pickled({"code": Code()}, zipped=False), errors.UnsafeCheckpointError, "mkdir"),
    ("bare-code.pth", lambda path: path.write_bytes(pickle.dumps(Code())), errors.UnsafeCheckpointError, "mkdir"),
    ("program.pt", torchscript, errors.CheckpointError, "TorchScript"),
    ("list.pth", pickled([1, 2, 3]), BROKEN, "no weights"),
    ("counts.pth", pickled({"epoch": 3, "lr": 0.1}), BROKEN, "'epoch'"),
    ("foreign.pth", pickled({"a.weight": torch.zeros(2)}), errors.UnknownArchitectureError, "'a.weight'"),
    ("nearly.pth", with_tensor("conv_cat.weight", None), errors.UnknownArchitectureError, r"closest .* SPAN, but conv_cat\.weight"),
    ("gap.pth", pickled({k: t for k, t in state().items() if "block_3" not in k}), WEIGHTS, r"lacks block_3\.c1_r"),
    ("missing.bias.pth", with_tensor("conv_2.eval_conv.bias", None), WEIGHTS, r"conv_2\.eval_conv\.bias is missing"),
    ("extra.pth", with_tensor("conv_9.weight", torch.zeros(1, 1, 1, 1)), WEIGHTS, r"conv_9\.weight is unexpected"),
    ("shape.pth", with_tensor("conv_2.eval_conv.weight", torch.zeros(4, 3, 3, 3)), WEIGHTS, r"\(4, 3, 3, 3\), expected \(4, 4, 3, 3\)"),
    ("nan.pth", with_tensor("conv_cat.bias", torch.full((4,), torch.nan)), WEIGHTS, r"conv_cat\.bias has 4 values that are NaN"),
    ("infinite.pth", with_tensor("conv_cat.bias", torch.full((4,), -torch.inf)), WEIGHTS, "infinite"),
    ("integer.pth", with_tensor("conv_cat.bias", torch.zeros(4, dtype=torch.int64)), WEIGHTS, "int64"),
    ("scale.pth", with_tensor("upsampler.0.weight", torch.zeros(3 * 1000, 4, 3, 3)), WEIGHTS, "3000 channels"),
    ("grey.pth", pickled({k: t for k, t in state(in_channels=1, out_channels=1, normalisation=None).items() if k != "no_norm"}), WEIGHTS,
     "no_norm"),
    ("alone.param", lambda path: path.write_text("7767517\n0 0\n"), BROKEN, r"alone\.bin"),
    ("alone.bin", lambda path: path.write_bytes(b"1234"), BROKEN, r"alone\.param"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "write", "error", "words"), CORPUS, ids=[entry[0] for entry in CORPUS])
def test_bad_file_is_refused_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, write: Callable[[Path], object], error: type[Exception], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path(name))
    with pytest.raises(error, match=words) as raised:
        span_arch.load(name)
    assert isinstance(raised.value, errors.CheckpointError)
    assert name.split(".")[0] in str(raised.value)
    assert not Path("it-ran").exists()


def test_odd_number_of_half_precision_weights_is_padded_to_words(tmp_path: Path) -> None:
    layers = ["Input image 0 1 image", "Convolution /a/Conv 1 1 image a 0=1 1=3 4=1 5=1 6=9", "Convolution /b/Conv 1 1 a b 0=1 1=1 6=1"]
    (tmp_path / "odd.param").write_text("\n".join(["7767517", "3 3", *layers]))
    flag = (0x01306B47).to_bytes(4, "little")
    weights = np.arange(9, dtype="<f2").tobytes() + b"\0\0" + np.array([0.5], "<f4").tobytes()
    (tmp_path / "odd.bin").write_bytes(flag + weights + bytes(4) + np.array([2.5], "<f4").tobytes())
    found = checkpoints.read(tmp_path / "odd.bin").state
    assert found["a.weight"].flatten().tolist() == list(range(9))
    assert (found["a.bias"].item(), found["b.weight"].item()) == (0.5, 2.5)


def change(old: str, new: str) -> Callable[[Path], None]:
    def edit(param: Path) -> None:
        text = param.read_text()
        assert old in text
        param.write_text(text.replace(old, new, 1))

    return edit


def change_bin(edit: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda param: param.with_suffix(".bin").write_bytes(edit(param.with_suffix(".bin").read_bytes())) and None


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (change("7767517", "7767518"), "does not begin with"),
        (change("\n77 92\n", "\n78 92\n"), "announces 78 layers"),
        (change("/block_2/c1_r/eval_conv/Conv ", "/block_1/c1_r/eval_conv/Conv "), "twice"),
        (change("6=20736", "6=20735"), "do not divide into"),
        (change("0=48 1=3 4=1 5=1 6=1296", "0=48 1=3 4=1 5=1 6=1000000000000512"), "the shape"),
        (change("Swish ", "LSTM "), "kind LSTM"),
        (change_bin(lambda data: data[:-100]), "truncated"),
        (change_bin(lambda data: data + b"1234"), "4 bytes more"),
        (change_bin(lambda data: data[:12] + b"\x38\x4b\x0d\x00" + data[16:]), "quantised"),
        (lambda param: param.write_bytes(b"\xff\xfe\x00"), "is not text"),
    ],
    ids=["magic", "layers", "twice", "uneven", "huge", "LSTM", "truncated", "trailing", "quantised", "binary"],
)
def test_damaged_ncnn_pair_is_refused_with_a_reason(
    tmp_path: Path, ncnn_folder: Path, damage: Callable[[Path], object], words: str
) -> None:
    for suffix in (".param", ".bin"):
        shutil.copy(ncnn_folder / "models" / f"spanx4_ch48{suffix}", tmp_path)
    damage(tmp_path / "spanx4_ch48.param")
    with pytest.raises(errors.CheckpointError, match=words):
        span_arch.load(tmp_path / "spanx4_ch48.param")
