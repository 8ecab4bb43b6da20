"""Malicious and randomly damaged files: each gives one of our errors, or a model that is right."""

from __future__ import annotations

import contextlib
import json
import pickle
import re
import struct
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

import span_arch
from span_arch import checkpoints, errors
from span_arch.archs.span import SPAN

psutil = pytest.importorskip("psutil")

State = dict[str, torch.Tensor]


def network() -> span_arch.FamilyModel:
    torch.manual_seed(0)
    return span_arch.from_state_dict(SPAN(feature_channels=4, blocks=2, scale=2).state_dict())


def state(**changes: torch.Tensor) -> State:
    return {**network().model.state_dict(), **{key.replace("__", "."): tensor for key, tensor in changes.items()}}


# Pickles


def laughs() -> object:
    """Return a tuple of 2**60 elements that takes sixty lines in a file. As a key, it has to be hashed in full."""
    bomb: tuple[object, ...] = ("ha",)
    for _ in range(60):
        bomb = (bomb, bomb)
    return bomb


class Call:
    """An object that calls a function when it is unpickled."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


def pickle_bomb(path: Path) -> None:
    # Loading hashes the key. It is written by hand because pickling would hash it too
    body = pickle.dumps(laughs(), protocol=2)[:-1] + b"K\x01s."
    archive(path, {"a/data.pkl": b"\x80\x02}" + body[2:], "a/version": b"3\n"})


def deep(path: Path) -> None:
    archive(path, {"a/data.pkl": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".", "a/version": b"3\n"})


def archive(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)


def zip_bomb(path: Path) -> None:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
        file.open("a/data.pkl", "w", force_zip64=True) as member,
    ):
        for _ in range(128):
            member.write(bytes(1 << 20))


def lying_directory(path: Path) -> None:
    torch.save(state(), path)
    data = path.read_bytes()
    entry = data.rindex(b"PK\x01\x02")
    path.write_bytes(data[: entry + 24] + struct.pack("<I", 2**31) + data[entry + 28 :])


def saved(value: object) -> Callable[[Path], None]:
    return lambda path: torch.save(value, path)


def view(*shape: int) -> torch.Tensor:
    """Return a tensor of a shape whose elements are all the same four bytes."""
    return torch.zeros(1).expand(*shape) if len(shape) == 1 else torch.zeros(1, 1, 1, 1).expand(*shape)


# safetensors


def safetensors(header: dict[str, Any] | bytes, body: bytes = b"", length: int | None = None) -> Callable[[Path], None]:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return lambda path: path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + body) and None


def entry(start: int, stop: int, *shape: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": list(shape), "data_offsets": [start, stop]}


# ncnn and ONNX


def ncnn(*layers: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text("\n".join(["7767517", f"{len(layers)} {len(layers)}", *layers]))
        path.with_suffix(".bin").write_bytes(bytes(64))

    return write


def onnx_file(change: Callable[[Any], object]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        onnx = pytest.importorskip("onnx")
        pytest.importorskip("onnxscript")
        span_arch.save(network(), path)
        model = onnx.load(path)
        change(model)
        path.write_bytes(model.SerializeToString())

    return write


def external(location: str, length: int = 64) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = 1
        for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
            tensor.external_data.add(key=key, value=value)

    return change


def doubling(model: Any) -> None:
    for i in range(64):
        name = model.graph.node[-1].output[0] if i == 0 else f"double_{i}"
        node = model.graph.node.add(op_type="Concat", input=[name, name], output=[f"double_{i + 1}"])
        node.attribute.add(name="axis", i=1, type=2)
    model.graph.output[0].name = "double_64"


def loop(model: Any) -> None:
    model.graph.node.add(op_type="Loop", input=[], output=["x"])


def lying_shape(model: Any) -> None:
    model.graph.initializer[0].dims[:] = [10**6, 10**6, 3, 3]


def swapped(model: Any) -> None:
    for node in model.graph.node:
        if node.op_type == "Sub":
            node.op_type = "Add"


BROKEN, UNSAFE, WEIGHTS = errors.BrokenCheckpointError, errors.UnsafeCheckpointError, errors.WeightsError
UNKNOWN = errors.UnknownArchitectureError
CORPUS: list[tuple[str, Callable[[Path], object], type[errors.CheckpointError], str]] = [
    ("laughs.pth", pickle_bomb, UNSAFE, "pickle bomb"),
    ("deep.pth", deep, BROKEN, "holds no weights|cannot be read"),
    ("memory.pth", saved({"a": Call(bytearray, 10**12)}), UNSAFE, "bytearray"),
    ("tensor.pth", saved({**state(), "a": Call(torch.FloatTensor, 10**13)}), errors.CheckpointError, "FloatTensor|cannot be read"),
    ("eval.pth", saved({"a": Call(eval, "1 + 1")}), UNSAFE, "eval"),
    ("zip bomb.pth", zip_bomb, UNSAFE, "unpacks to"),
    ("directory.pth", lying_directory, errors.CheckpointError, "unpacks to|cannot be read"),
    ("view.pth", saved(state(conv_cat__weight=view(10**6, 10**6, 1, 1))), WEIGHTS, "4 bytes are too few"),
    ("meta.pth", saved(state(conv_cat__weight=torch.empty(4, 16, 1, 1, device="meta"))), WEIGHTS, "without contents"),
    ("sparse.pth", saved(state(conv_cat__weight=torch.zeros(4, 16, 1, 1).to_sparse())), WEIGHTS, "sparse"),
    ("complex.pth", saved(state(conv_cat__weight=torch.zeros(4, 16, 1, 1, dtype=torch.complex64))), WEIGHTS, "complex64"),
    ("empty tensor.pth", saved(state(conv_cat__weight=torch.zeros(0, 16, 1, 1))), WEIGHTS, "is empty"),
    ("flat.pth", saved(state(conv_cat__weight=torch.zeros(64))), WEIGHTS, "four axes"),
    ("thousand.pth", saved(state(upsampler__0__weight=torch.zeros(3 * 1000**2, 1, 1, 1))), WEIGHTS, "3000000 channels"),
    ("block.pth", saved(state(**{"block_999999999__c1_r__eval_conv__weight": torch.zeros(1, 1, 1, 1)})), WEIGHTS, "lacks block_3"),
    ("digits.pth", saved(state(**{"block_²__c1_r__eval_conv__weight": torch.zeros(1, 1, 1, 1)})), WEIGHTS, "unexpected"),
    ("long.safetensors", safetensors(b"{}", length=2**60), BROKEN, "not a valid safetensors"),
    ("lie.safetensors", safetensors(b"{}", length=1000), BROKEN, "not a valid safetensors"),
    ("overlap.safetensors", safetensors({"a": entry(0, 8, 2), "b": entry(4, 12, 2)}, bytes(12)), BROKEN, "not a valid safetensors"),
    ("beyond.safetensors", safetensors({"a": entry(0, 4 * 10**12, 10**12)}, bytes(8)), BROKEN, "not a valid safetensors"),
    ("shape.safetensors", safetensors({"a": entry(0, 8, 10**9, 10**9)}, bytes(8)), BROKEN, "not a valid safetensors"),
    ("negative.safetensors", safetensors({"a": entry(-4, 4, 2)}, bytes(8)), BROKEN, "not a valid safetensors"),
    ("none.safetensors", safetensors({}), BROKEN, "holds no weights"),
    ("bytes.safetensors", safetensors({"__metadata__": {"normalisation": "nan 0 0 1"}, "a": entry(0, 4, 1)}, bytes(4)), BROKEN, "nan"),
    ("huge.param", ncnn("Convolution /a/Conv 0 1 a 0=1000000 1=1 6=1000000000000"), BROKEN, "the shape"),
    ("twice.param", ncnn("Input a 0 1 a", "Input a 0 1 b"), BROKEN, "'a' twice"),
    ("infinite.param", ncnn("Convolution a 0 1 a 0=inf"), BROKEN, "not a number"),
    ("many.param", ncnn(*(f"Input {i} 0 1 {i}" for i in range(5000))), BROKEN, "5,000 layers"),
    ("text.param", lambda path: ncnn("x" * (2 << 20))(path), BROKEN, "at most 1,048,576 are read"),
    ("outside.onnx", onnx_file(external("../../secrets.bin")), UNSAFE, "outside its own folder"),
    ("absolute.onnx", onnx_file(external("/etc/hostname")), UNSAFE, "outside its own folder"),
    ("missing data.onnx", onnx_file(external("nowhere.data")), BROKEN, "is missing"),
    ("short.onnx", onnx_file(external("short.onnx", length=10**12)), BROKEN, "is truncated"),
    ("doubling.onnx", onnx_file(doubling), BROKEN, "at most .* are read|too large"),
    ("loop.onnx", onnx_file(loop), errors.CheckpointError, "Loop"),
    ("shape.onnx", onnx_file(lying_shape), BROKEN, "cannot be read"),
    ("swapped.onnx", onnx_file(swapped), errors.CheckpointError, "changes its image|gives another result"),
    ("noise.onnx", lambda path: path.write_bytes(bytes(range(1, 256)) * 9), BROKEN, "cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "write", "error", "words"), CORPUS, ids=[case[0] for case in CORPUS])
def test_hostile_file_is_refused_within_seconds_and_with_little_memory(
    name: str, write: Callable[[Path], object], error: type[Exception], words: str, tmp_path: Path
) -> None:
    write(tmp_path / name)
    process, start = psutil.Process(), time.monotonic()
    before = process.memory_info().rss
    with pytest.raises(error, match=words):
        span_arch.load(tmp_path / name)
    assert time.monotonic() - start < 5
    assert process.memory_info().rss - before < 200 << 20


def test_symlink_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    secret, folder = tmp_path / "secret", tmp_path / "models"
    folder.mkdir()
    secret.write_bytes(bytes(4096))
    (folder / "a.data").symlink_to(secret)
    onnx_file(external("a.data"))(folder / "a.onnx")
    with pytest.raises(UNSAFE, match="outside its own folder"):
        span_arch.load(folder / "a.onnx")


# Damage


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a valid file of every container."""
    pytest.importorskip("onnxscript")
    folder = tmp_path_factory.mktemp("whole")
    for suffix in ("safetensors", "pth", "onnx", "param"):
        span_arch.save(network(), folder / f"a.{suffix}")
    torch.save(network().model.state_dict(), folder / "old.pth", _use_new_zipfile_serialization=False)
    return folder


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Draw a function that writes, cuts, removes, inserts or moves bytes, mostly in headers."""
    where, count = draw(st.floats(0, 1)) ** draw(st.sampled_from([1, 4])), draw(st.sampled_from([1, 2, 8, 64]))
    kind, fill = draw(st.sampled_from(["write", "cut", "remove", "insert", "move"])), draw(st.binary(min_size=count, max_size=count))
    other = draw(st.floats(0, 1))

    def apply(data: bytes) -> bytes:
        at, source = int(where * (len(data) - 1)), int(other * (len(data) - 1))
        return {
            "write": data[:at] + fill + data[at + count :],
            "cut": data[: at + 1],
            "remove": data[:at] + data[at + count :],
            "insert": data[:at] + fill + data[at:],
            "move": data[:at] + data[source : source + count] + data[at + count :],
        }[kind]

    return apply


WORDS = ["0", "-1", "nan", "1e300", "0=99999999999999", "5=0", "6=1", "9=1", "3=2", "x", "=", "BinaryOp", "data"]
EXCHANGED = {"Swish": "TanH", "Sigmoid": "Swish", "0=1": "0=0", "0=2": "0=1", "2=5.000000e-01": "2=4.000000e-01"}
"""Words of a graph, and words that turn it into another valid graph."""


@st.composite
def rewording(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Draw a function that replaces or removes a word of a text."""
    where, kind, new = draw(st.floats(0, 1)), draw(st.sampled_from(["exchange", "replace", "remove"])), draw(st.sampled_from(WORDS))

    def apply(data: bytes) -> bytes:
        words = re.split(r"( |\n)", data.decode())
        places = [i for i, word in enumerate(words) if word.strip() and (kind != "exchange" or word in EXCHANGED)]
        at = places[int(where * (len(places) - 1))]
        words[at] = {"exchange": EXCHANGED.get(words[at], ""), "replace": new, "remove": ""}[kind]
        return "".join(words).encode()

    return apply


def answer(path: Path) -> span_arch.FamilyModel | None:
    """Load a file, and return None for one of our errors. Both take little time."""
    start, model = time.monotonic(), None
    with contextlib.suppress(span_arch.SpanArchError):
        model = span_arch.load(path)
    assert time.monotonic() - start < 5
    return model


def upscaled(model: span_arch.FamilyModel, image: torch.Tensor) -> torch.Tensor:
    result = model.model(image)
    assert result.shape == (1, model.output_channels, image.shape[2] * model.scale, image.shape[3] * model.scale)
    return result


often = settings(derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth", "old.pth"])
@often
@given(change=damage())
def test_damaged_weights_are_refused_or_loaded_as_they_are(
    name: str, change: Callable[[bytes], bytes], whole: Path, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(change((whole / name).read_bytes()))
    model = answer(path)
    if model is None:
        return
    upscaled(model, torch.rand(1, model.input_channels, 8, 8))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a changed protocol that torch still reads
        held = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    for key, tensor in model.model.state_dict().items():
        if key != "no_norm":
            assert torch.equal(tensor, held[key].float())


@pytest.mark.parametrize("name", ["a.onnx", "a.bin", "a.param"])
@often
@given(data=st.data())
def test_damaged_graph_is_refused_or_computed_as_it_says(name: str, data: st.DataObject, whole: Path, tmp_path: Path) -> None:
    change = data.draw(st.one_of(damage(), rewording()) if name == "a.param" else damage())
    for file in ("a.param", "a.bin"):
        (tmp_path / file).write_bytes((whole / file).read_bytes())
    path = tmp_path / name
    path.write_bytes(change((whole / name).read_bytes()))
    model = answer(path)
    if model is None:
        return
    image = torch.rand(1, model.input_channels, 8, 10)
    graph = checkpoints.read(path).graph
    assert graph is not None
    expected = graph.run(image)
    if expected.isfinite().all():
        torch.testing.assert_close(upscaled(model, image), expected, atol=1e-3 * max(1.0, float(expected.abs().max())), rtol=0)
