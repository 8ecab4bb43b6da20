"""Malicious files that were once loaded, or that did harm before they were refused.

The property tests here change the contents of a container and write a valid container around them. Checksums and lengths are right, so
readers reach the changes.
"""

from __future__ import annotations

import io
import re
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import span_arch
from span_arch import errors
from span_arch.archs import span
from span_arch.archs.blocks import Conv3XC
from span_arch.archs.espan import ESPAN
from span_arch.archs.reparam import fuse
from span_arch.archs.span import SPAN
from span_arch.archs.spanf import SPANF
from span_arch.archs.spanf3 import SPANF3
from span_arch.archs.spanplus import SPANPlus
from span_arch.checkpoints.ncnn_writer import to_ncnn

from .test_hostile import BROKEN, UNKNOWN, UNSAFE, WEIGHTS, State, answer, archive, entry, external, ncnn, network, saved, state
from .test_hostile import safetensors as safetensors_file

Write = Callable[[Path], object]


def trained(**changes: torch.Tensor) -> State:
    """Return a state dict in its training form."""
    torch.manual_seed(0)
    whole = SPAN(feature_channels=4, blocks=2, scale=2, conv=Conv3XC).state_dict()
    return {**whole, **{key.replace("__", "."): tensor for key, tensor in changes.items()}}


# Pickles


def pickled(body: bytes, compression: int = zipfile.ZIP_STORED) -> Write:
    """Write an archive of PyTorch with the given pickle."""
    return lambda path: archive(path, {"a/data.pkl": b"\x80\x02" + body, "a/version": b"3\n"}, compression)


def called(name: bytes, *arguments: bytes) -> bytes:
    return b"c" + b"\n".join(name.rsplit(b".", 1)) + b"\n(" + b"".join(arguments) + b"tR"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def array(shape: bytes, kind: str, content: bytes) -> bytes:
    """Return the opcodes of a state dict with one NumPy array."""
    made = called(b"numpy.core.multiarray._reconstruct", b"cnumpy\nndarray\n", b"(K\x00t", b"N")
    dtype = called(b"numpy.dtype", text(kind), b"\x89\x88") + b"(K\x03" + text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return b"}" + text("conv_cat.weight") + made + b"(K\x01" + shape + dtype + b"\x89" + content + b"tbs."


def view(size: bytes, stride: bytes, kind: str = "FloatStorage", key: str = "0") -> bytes:
    """Return the opcodes of a TorchScript module with one tensor, a view of a storage of four numbers."""
    storage = b"(" + text("storage") + b"ctorch\n" + kind.encode() + b"\n" + text(key) + text("cpu") + b"K\x04tQ"
    tensor = called(b"torch._utils._rebuild_tensor_v2", storage, b"K\x00", size, stride, b"\x89", called(b"collections.OrderedDict"))
    return b"c__torch__.a\nM\n)\x81}" + text("weight") + tensor + b"sb."


def program(body: bytes) -> Write:
    """Write a TorchScript archive with the given pickle."""
    parts = {"a/data.pkl": b"\x80\x02" + body, "a/constants.pkl": b"\x80\x02).", "a/data/0": bytes(16), "a/version": b"3\n"}
    return lambda path: archive(path, parts)


def doubled_lists(times: int) -> bytes:
    return b"]q\x00" + b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(times))


def shared(path: Path) -> None:
    """Write three hundred blocks that share six megabytes."""
    with torch.device("meta"):
        shapes = {key: tensor.shape for key, tensor in SPAN(feature_channels=400, blocks=300, normalisation=None).state_dict().items()}
    numbers = torch.zeros(400 * 400 * 9)
    torch.save({key: numbers[: shape.numel()].view(shape) for key, shape in shapes.items() if key != "no_norm"}, path)


def quantised() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the move of quantisation to another package
        return torch.quantize_per_tensor(torch.zeros(4, 16, 1, 1), 0.1, 0, torch.quint8)


def nested(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about nested tensors being a prototype
        torch.save(state(conv_cat__weight=torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])), path)


def tar(path: Path) -> None:
    """Write a tar archive whose first bytes are five valid pickles."""
    with tarfile.open(path, "w") as file:
        file.addfile(tarfile.TarInfo("N.N.N.N.N."))


# Archives


def after_another(path: Path) -> None:
    """Write one archive behind another, which programs disagree about."""
    torch.save({"a": torch.zeros(1)}, path)
    first = path.read_bytes()
    torch.save(state(), path)
    path.write_bytes(first + path.read_bytes())


def behind_a_pickle(path: Path) -> None:
    torch.save(state(), path)
    path.write_bytes(b"\x80\x02" + doubled_lists(60) + b")R." + path.read_bytes())


def twice(second: str) -> Write:
    def write(path: Path) -> None:
        torch.save(state(), path)
        with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as file:
            warnings.simplefilter("ignore")  # about the repeated name
            file.writestr(f"{path.stem}/{second}", b"\x80\x02}.")

    return write


def encrypted(path: Path) -> None:
    torch.save(state(), path)
    data = bytearray(path.read_bytes())
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + at] |= 1
    path.write_bytes(data)


# ncnn: a valid pair with a word replaced


def reworded(pattern: str, replacement: str) -> Write:
    def write(path: Path) -> None:
        param, weights = to_ncnn(network().model, torch.float32)
        layers = param.split("\n", 2)[2].strip()
        changed = re.sub(pattern, replacement, layers, count=1, flags=re.MULTILINE)
        assert changed != layers
        ncnn(*changed.splitlines())(path)
        path.with_suffix(".bin").write_bytes(weights)

    return write


# ONNX: a valid file with a change


@cache
def exported() -> bytes:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    with tempfile.TemporaryDirectory() as folder:
        span_arch.save(network(), Path(folder, "a.onnx"))
        return Path(folder, "a.onnx").read_bytes()


def onnx_file(change: Callable[[Any], object]) -> Write:
    def write(path: Path) -> None:
        import onnx

        model = onnx.load_from_string(exported())
        change(model)
        path.write_bytes(model.SerializeToString())

    return write


def appended(*operations: tuple[str, Any], times: int = 1) -> Write:
    """Append operations, each a kind and a constant that it reads next to the last result. Repeat the last one."""

    def change(model: Any) -> None:
        from onnx import numpy_helper

        last = model.graph.output[0].name
        for i, (_, constant) in enumerate(operations):
            if constant is not None:
                model.graph.initializer.append(numpy_helper.from_array(constant, f"constant_{i}"))
        steps = [(i, kind, constant) for i, (kind, constant) in enumerate(operations)]
        for i, kind, constant in (*steps[:-1], *steps[-1:] * times):
            made = f"made_{len(model.graph.node)}"
            model.graph.node.add(op_type=kind, input=[last, *([f"constant_{i}"] if constant is not None else [])], output=[made], name=made)
            last = made
        model.graph.output[0].name = last

    return onnx_file(change)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def attribute(kind: str, name: str, **value: Any) -> Write:
    def change(model: Any) -> None:
        node = next(node for node in model.graph.node if node.op_type == kind)
        for old in [old for old in node.attribute if old.name == name]:
            node.attribute.remove(old)
        node.attribute.add(name=name, **value)

    return onnx_file(change)


def one_file_for_many(model: Any) -> None:
    for i in range(300):
        tensor = model.graph.initializer.add(name=f"w.{i}", dims=[50 << 20], data_type=1, data_location=1)
        tensor.external_data.add(key="location", value="w.data")


def with_its_data(path: Path) -> None:
    onnx_file(one_file_for_many)(path)
    with (path.parent / "w.data").open("wb") as file:
        file.truncate(200 << 20)


def out_of_float32(model: Any) -> None:
    from onnx import numpy_helper

    tensor = model.graph.initializer[0]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64) * 1e300, tensor.name))


def many_initialisers(model: Any) -> None:
    for i in range(300_000):
        model.graph.initializer.add(name=f"w.{i}", dims=[0], data_type=1)


def many_convolutions(model: Any) -> None:
    model.graph.ClearField("node")
    for i in range(300):
        model.graph.node.add(op_type="Conv", input=[f"made_{i}" if i else model.graph.input[0].name, "w"], output=[f"made_{i + 1}"])
    del model.graph.initializer[1:]
    model.graph.initializer[0].name = "w"
    model.graph.output[0].name = "made_300"


def last_first(model: Any) -> None:
    nodes = list(model.graph.node)
    model.graph.ClearField("node")
    model.graph.node.extend(nodes[::-1])


def made_twice(model: Any) -> None:
    model.graph.node[-1].output[0] = model.graph.node[0].output[0]


def operation(kind: str, domain: str = "") -> Callable[[Any], None]:
    return lambda model: model.graph.node.add(op_type=kind, domain=domain, output=["other"]) and None


def cut(write: Write, share: float) -> Write:
    def written(path: Path) -> None:
        write(path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return written


SPAN_KEYS = span.ARCHITECTURE.keys
SPANPLUS = SPANPlus(feature_channels=4, blocks=(1,), upsampler="ps").state_dict()
CORPUS: list[tuple[str, Write, type[errors.CheckpointError], str]] = [
    ("numbers for keys.pth", saved({1: torch.zeros(2)}), BROKEN, "the keys 1"),
    ("covered.pth", pickled(b"}" + text("params") + called(b"collections.OrderedDict") + text("module.a") + b"K\x01s}" + text("items")
                            + b"K\x01sbs."), BROKEN, "'params'"),
    ("covered at the top.pth", pickled(called(b"collections.OrderedDict") + text("a") + b"K\x01s}" + text("keys") + b"K\x01sb."), BROKEN,
     "the keys 'a'"),
    ("lists.pth", pickled(doubled_lists(60) + b")R."), BROKEN, "not a function"),
    ("deep key.pth", pickled(b"})" + b"\x85" * 100_000 + b"K\x01s."), UNSAFE, "pickle bomb"),
    ("encode.pth", pickled(called(b"_codecs.encode", text("\u4e00" * 60_000), text("punycode")) + b"."), UNSAFE, r"_codecs\.encode"),
    ("encoding.pth", pickled(array(b"(K\x04t", "f4", called(b"_codecs.encode", text("\u4e00" * 60_000), text("punycode")))), BROKEN,
     "an encoding that arrays do not use"),
    ("objects.pth", pickled(array(b"(K\x04t", "O8", b"]")), BROKEN, "no weights"),
    ("huge array.pth", pickled(array(b"(" + number(10**12) + b"t", "f4", called(b"_codecs.encode", text("abcd"), text("latin1")))), BROKEN,
     "cannot reshape"),
    ("code in a program.pt", program(b"c__torch__.a\nM\n)\x81}" + text("a") + called(b"os.mkdir", text("it-ran")) + b"sb."), UNSAFE,
     r"os\.mkdir"),
    ("huge view.pt", program(view(b"(" + number(10**12) + b"t", b"(K\x01t")), BROKEN, "larger than its storage"),
    ("long view.pt", program(view(b"(K\x05t", b"(K\x01t")), BROKEN, "larger than its storage"),
    ("negative view.pt", program(view(b"(" + number(-4) + b"t", b"(K\x01t")), BROKEN, "without a storage or a shape"),
    ("other numbers.pt", program(view(b"(K\x04t", b"(K\x01t", "DoubleStorage")), BROKEN, "16 bytes for 4 numbers"),
    ("no storage.pt", program(view(b"(K\x04t", b"(K\x01t", key="../0")), BROKEN, "cannot be read"),
    ("sharing view.pt", program(view(b"(K\x04K\x04K\x03K\x03t", b"(K\x00K\x00K\x00K\x00t")), UNKNOWN, "'weight'"),
    ("changed reader.pt", program(b"ctorch._utils\n_rebuild_tensor_v2\n(N}" + text("__defaults__") + b")stb."), BROKEN, "no weights"),
    ("storage.pth", pickled(called(b"torch.storage.UntypedStorage", number(10**12)) + b"."), BROKEN, "not a function"),
    ("attributes.pth", pickled(called(b"torch._tensor._rebuild_from_type_v2") + b"."), UNSAFE, "_rebuild_from_type_v2"),
    ("instance.pth", pickled(b"(S'it-ran'\nios\nmkdir\n."), UNSAFE, r"os\.mkdir"),
    ("names from memory.pth", pickled(text("os") + b"q\x00" + text("mkdir") + b"q\x010" + text("collections") + text("OrderedDict")
     + b"00h\x00h\x01\x93" + text("it-ran") + b"\x85R."), UNSAFE, r"os\.mkdir"),
    ("steps.pth", pickled(b"N0" * 300_000 + b"N.", zipfile.ZIP_DEFLATED), BROKEN, "524,288 opcodes"),
    ("tar.pth", tar, BROKEN, "a tar archive"),
    ("nested.pth", nested, UNSAFE, "nested_tensor"),
    ("quantised.pth", saved(state(conv_cat__weight=quantised())), WEIGHTS, "quantised"),
    ("shared.pth", shared, WEIGHTS, "by sharing 5,760,000"),
    ("scalars.pth", saved({key: torch.tensor(1.0) for key in state()}), WEIGHTS, r"shape \(\)"),
    ("huge.pth", saved(state(conv_cat__bias=torch.full((4,), 1e300, dtype=torch.float64))), WEIGHTS, "infinite"),
    ("arabic.pth", saved(state(block_١__c1_r__eval_conv__weight=torch.zeros(1, 1, 1, 1))), WEIGHTS, "unexpected"),
    ("cyrillic.pth", saved({key.replace("o", "\u043e"): tensor for key, tensor in state().items()}), UNKNOWN, "lacks conv_1"),
    ("long key.pth", saved({**state(), "x" * 3_000_000: torch.zeros(1)}), WEIGHTS, "xxx"),
    ("long number.pth", saved({**state(), "block_999999999999.c1_r.eval_conv.weight": torch.zeros(1, 1, 1, 1)}), WEIGHTS, "unexpected"),
    ("many.pth", saved({**state(), **dict.fromkeys(map(str, range(5000)), torch.zeros(1))}), WEIGHTS, "no network has more than"),
    ("networks.pth", saved({"a." * i + key: torch.full((1, 1, 1, 1), i) for i in range(900) for key in SPAN_KEYS}), errors.CheckpointError,
     "networks of equal standing"),
    ("no output.pth", saved({**SPANF(feature_channels=4, blocks=2).state_dict(), "conv_2.eval_conv.weight": torch.zeros(4, 4, 3, 3)}),
     WEIGHTS, r"\(4, 4, 3, 3\), expected"),
    ("no input.pth", saved({**SPANF3(feature_channels=4, blocks=1, scale=2, unshuffle=2).state_dict(),
     "to_pixel.eval_conv.weight": torch.zeros(4, 4, 3, 3)}), WEIGHTS, r"\(4, 4, 3, 3\), expected"),
    ("branches.pth", saved(trained(conv_1__conv__0__weight=torch.zeros(1, 5000, 1, 1), conv_1__conv__1__weight=torch.zeros(1, 1, 3, 3),
     conv_1__conv__2__weight=torch.zeros(5000, 1, 1, 1))), WEIGHTS, "do not fit each other"),
    ("matrix.pth", saved(trained(conv_1__conv__0__bias=torch.zeros(6, 5000))), WEIGHTS, "do not fit each other"),
    ("old.pth", cut(lambda path: torch.save(state(), path, _use_new_zipfile_serialization=False), 0.05), BROKEN, "cannot be read"),
    ("after another.pth", after_another, BROKEN, "within another file"),
    ("behind a pickle.pth", behind_a_pickle, BROKEN, "not a function"),
    ("twice.pth", twice("data.pkl"), BROKEN, "two members of one name"),
    ("twice with capitals.pth", twice("DATA.PKL"), BROKEN, "two members of one name"),
    ("encrypted.pth", encrypted, BROKEN, "cannot be read"),
    ("long header.safetensors", safetensors_file(b"{" + b" " * (9 << 20) + b"}"), BROKEN, "9,437,186 bytes"),
    ("deep header.safetensors", safetensors_file(b"[" * 1_000_000), BROKEN, "not a valid safetensors"),
    ("metadata.safetensors", safetensors_file({"__metadata__": {"a": {"b": 1}}, "a": entry(0, 4, 1)}, bytes(4)), BROKEN, "not a valid"),
    ("twice.safetensors", safetensors_file(b'{"a":%s,"a":%s}' % ((b'{"dtype":"F32","shape":[1],"data_offsets":[0,4]}',) * 2), bytes(8)),
     BROKEN, "not a valid safetensors"),
    ("type.safetensors", safetensors_file({"a": {**entry(0, 4, 1), "dtype": "F31"}}, bytes(4)), BROKEN, "not a valid safetensors"),
    ("mean.safetensors", lambda path: save_file(state(), path, {"normalisation": "1e300 0 0 1"}), BROKEN, "1e300"),
    ("plus.safetensors", lambda path: save_file(SPANPLUS, path, {"normalisation": "0.4 0.4 0.4 255"}), WEIGHTS, "images as they are"),
    ("no image.param", reworded(r"^Input .*$", "Noop x 0 0"), BROKEN, "takes 0 images"),
    ("two images.param", reworded(r"^(Input .*)$", r"\1\nInput other 0 1 other"), BROKEN, "takes 2 images"),
    ("early.param", reworded(r"^(Convolution .*)\n(Split .*)$", r"\2\n\1"), BROKEN, "before a step makes it"),
    ("again.param", reworded(r"^(Sigmoid .* 1 1 (\S+)) \S+", r"\1 \2"), BROKEN, "exists already"),
    ("operation.param", reworded(r"^(BinaryOp +/mul_1 .*) 0=2", r"\1 0=0"), BROKEN, "gives another result"),
    ("both.param", reworded(r"^(BinaryOp .* 2 1 .*)$", r"\1 1=1 2=0.5"), BROKEN, "neither two tensors"),
    ("outputs.param", reworded(r"^Split ", "Concat "), errors.CheckpointError, r"settings .* outputs"),
    ("read twice.param", reworded(r"^(Convolution +/block_1/c1_r.* 1 1 \S+_output)_0 ", r"\1 "), BROKEN, "reads the blob .* twice"),
    ("half a channel.param", reworded(r" 0=4 ", " 0=4.5 "), BROKEN, "not a whole number"),
    ("negative.param", reworded(r" 0=4 ", " 0=-4 "), BROKEN, "do not divide into"),
    ("kernel.param", reworded(r" 1=3 ", " 1=1e300 "), BROKEN, "do not divide into"),
    ("padding.param", reworded(r" 4=1 ", " 4=1000000000 "), errors.CheckpointError, "settings that no network"),
    ("computed.param", reworded(r"^(Convolution .*)$", r"\1 19=1"), errors.CheckpointError, "settings that no network"),
    ("count.param", ncnn("Input data " + "9" * 5000 + " 1 data"), BROKEN, "not an ncnn layer"),
    ("memory.onnx", appended(("Mul", ones(2000, 1, 1, 1)), ("Relu", None), times=4000), BROKEN, "elements in all tensors"),
    ("time.onnx", appended(("Conv", ones(800, 3, 1, 1)), ("Conv", ones(800, 800, 1, 1)), times=4000), BROKEN, "multiplications"),
    ("batch.onnx", appended(("Mul", ones(1000, 1, 1, 1)), ("Conv", ones(200, 3, 1, 1))), BROKEN, "elements in a step"),
    ("in place.onnx", appended(("Relu", ones(1))), BROKEN, "positional argument"),
    ("alpha.onnx", attribute("Sigmoid", "alpha", f=2.0, type=1), errors.CheckpointError, r"settings .* alpha 2"),
    ("kernel.onnx", attribute("Conv", "kernel_shape", ints=[5, 5], type=7), errors.CheckpointError, "a kernel of"),
    ("groups.onnx", attribute("Conv", "group", i=-7, type=2), BROKEN, "cannot be run"),
    ("shape.onnx", onnx_file(lambda model: model.graph.initializer[0].dims.__setitem__(0, -1)), BROKEN, "has the shape"),
    ("overflow.onnx", onnx_file(out_of_float32), WEIGHTS, "infinite"),
    ("one file for many.onnx", with_its_data, BROKEN, "weights, and at most"),
    ("initialisers.onnx", onnx_file(many_initialisers), BROKEN, "initialisers, and at most"),
    ("convolutions.onnx", onnx_file(many_convolutions), UNKNOWN, "300 convolutions are not those"),
    ("order.onnx", onnx_file(last_first), BROKEN, "before a step makes it"),
    ("twice.onnx", onnx_file(made_twice), BROKEN, "exists already|changes its image"),
    ("if.onnx", onnx_file(operation("If")), errors.CheckpointError, "If"),
    ("quantised.onnx", onnx_file(operation("QLinearConv")), errors.CheckpointError, "not quantised"),
    ("domain.onnx", onnx_file(operation("Relu", "com.example")), errors.CheckpointError, "Relu"),
    ("outputs.onnx", onnx_file(lambda model: model.graph.output.add(name="other")), BROKEN, "2 outputs"),
    ("zero byte.onnx", onnx_file(external("a\0b")), errors.CheckpointError, "outside|cannot be read"),
    ("cut.onnx", cut(onnx_file(lambda model: None), 0.5), BROKEN, "cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "write", "error", "words"), CORPUS, ids=[case[0] for case in CORPUS])
def test_hostile_file_is_refused_within_seconds(
    name: str, write: Write, error: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / name)
    start = time.monotonic()
    with pytest.raises(error, match=words) as raised:
        span_arch.load(name)
    assert time.monotonic() - start < 5
    assert isinstance(raised.value, errors.CheckpointError)
    assert name in str(raised.value)
    assert len(str(raised.value)) < 4000
    assert not Path("it-ran").exists()


ALL_AT_ONCE = """
import re, sys
from pathlib import Path
import span_arch

def peak():  # getrusage would report the parent's peak if that is larger
    return int(re.search(r"VmHWM:\\s+([0-9]+) kB", Path("/proc/self/status").read_text())[1])

span_arch.load("spanx2_ch48")  # memory that the first load needs once
before = peak()
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        span_arch.load(path)
    except span_arch.SpanArchError:
        pass
print((peak() - before) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux reports the peak memory of a process")
def test_all_hostile_files_together_need_little_memory(tmp_path: Path) -> None:
    for name, write, _, _ in CORPUS:
        write(tmp_path / name)
    found = subprocess.run([sys.executable, "-c", ALL_AT_ONCE, tmp_path], capture_output=True, text=True, check=True, timeout=120)
    assert int(found.stdout) < 400  # megabytes


@pytest.mark.parametrize("version", [None, 0, 999])
def test_onnx_graph_of_any_claimed_version_is_judged_by_what_it_computes(version: int | None, tmp_path: Path) -> None:
    def change(model: Any) -> None:
        model.opset_import[0].version = version or 0
        if version is None:
            model.ClearField("opset_import")

    onnx_file(change)(tmp_path / "a.onnx")
    assert_sound(span_arch.load(tmp_path / "a.onnx"), state())


# Damage that the checks of containers cannot find


def assert_sound(model: span_arch.FamilyModel, held: State) -> None:
    """Check that a model has the given weights, and runs."""
    for key, tensor in model.model.state_dict().items():
        if key not in ("no_norm", "upsampler.init_pos"):  # not from the file
            assert torch.equal(tensor, held[key].float()), key
    with torch.no_grad():
        result = model.model(torch.rand(1, model.input_channels, 8, 8))
    assert result.shape == (1, model.output_channels, 8 * model.scale, 8 * model.scale)


often = settings(derandomize=True, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])

NETWORKS: list[State] = [
    state(),
    dict(SPAN(feature_channels=4, blocks=1, normalisation=None).state_dict()),
    trained(),
    SPANF(feature_channels=4, blocks=2, scale=2).state_dict(),
    ESPAN(feature_channels=4, blocks=1, scale=2).state_dict(),
    SPANPLUS,
    SPANPlus(feature_channels=4, blocks=(0, 1), scale=2).state_dict(),
    SPANPlus(feature_channels=4, blocks=(1,), scale=1, upsampler="conv").state_dict(),
    SPANF3(feature_channels=4, blocks=1).state_dict(),
    SPANF3(feature_channels=4, blocks=1, scale=2, unshuffle=2).state_dict(),
]
TYPES = [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.int64, torch.bool, torch.complex64]
SHAPES: list[Callable[[torch.Tensor], torch.Tensor]] = [
    lambda t: t.flatten(),
    lambda t: t[:0],
    lambda t: t[:1],
    lambda t: t[..., :1],
    lambda t: t.transpose(0, -1),
    lambda t: torch.cat([t, t]),
    lambda t: t.repeat_interleave(3, 0),
    lambda t: t[None],
    lambda t: t.sum(),
    lambda t: t.flatten()[:1].expand(t.shape),
    lambda t: t * torch.nan,
    lambda t: t / 0,
]


@st.composite
def mistaken(draw: st.DrawFn) -> State:
    """Draw a state dict with tensors lost, renamed, exchanged, reshaped or converted."""
    held = dict(draw(st.sampled_from(NETWORKS)))
    for _ in range(draw(st.integers(1, 3))):
        key, other = draw(st.sampled_from(sorted(held))), draw(st.sampled_from(sorted(held)))
        kind = draw(st.sampled_from(["lose", "rename", "number", "exchange", "shape", "shape", "type"]))
        if kind == "lose" and len(held) > 1:
            del held[key]
        elif kind == "rename":
            held[draw(st.text(max_size=8)) + key + draw(st.sampled_from(["", ".weight", "x"]))] = held.pop(key)
        elif kind == "number":
            held[re.sub(r"\d+", draw(st.sampled_from(["0", "1", "2", "7", "²", "-1", "999999999"])), key, count=1)] = held.pop(key)
        elif kind == "exchange":
            held[key], held[other] = held[other], held[key]
        elif kind == "shape" and held[key].ndim and not held[key].is_complex():
            held[key] = draw(st.sampled_from(SHAPES))(held[key].float())
        elif not held[key].is_complex():  # torch warns about converting these
            held[key] = held[key].to(draw(st.sampled_from(TYPES)))
    return held


@settings(often, derandomize=True, max_examples=250)
@given(held=mistaken())
def test_faulty_state_dict_is_refused_or_loaded_as_it_is(held: State, tmp_path: Path) -> None:
    torch.save(held, tmp_path / "a.pth")
    model = answer(tmp_path / "a.pth")
    if model is not None:
        assert_sound(model, fuse({key: tensor for key, tensor in held.items() if key != "no_norm"}))


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_training_form_of_any_floating_type_is_fused(dtype: torch.dtype, tmp_path: Path) -> None:
    rounded = {key: tensor.to(dtype) for key, tensor in trained().items()}
    torch.save(rounded, tmp_path / "a.pth")
    assert_sound(span_arch.load(tmp_path / "a.pth"), fuse({key: tensor.double() for key, tensor in rounded.items()}))


@cache
def members() -> dict[str, bytes]:
    file = io.BytesIO()
    torch.save(state(), file)
    with zipfile.ZipFile(file) as whole:
        return {name: whole.read(name) for name in whole.namelist()}


OPCODES = st.sampled_from([b"0", b"1", b"2", b"N", b"K\x02", b"R", b"b", b"}", b"]", b")", b"(", b"t", b"\x85", b"s", b"u", b"Q", b"h\x02"])


@st.composite
def rewritten(draw: st.DrawFn) -> bytes:
    """Draw the pickle of a valid file with opcodes inserted, or bytes changed or removed, in one to three places."""
    (data,) = (content for name, content in members().items() if name.endswith("data.pkl"))
    for _ in range(draw(st.integers(1, 3))):
        at, gone = draw(st.integers(0, len(data) - 1)), draw(st.sampled_from([0, 0, 1, 1, 5, 30]))
        data = data[:at] + draw(st.one_of(OPCODES, st.binary(max_size=3))) + data[at + gone :]
    return data


@settings(often, derandomize=True, max_examples=300)
@given(data=rewritten())
def test_changed_pickle_is_refused_or_loaded_as_torch_loads_it(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    archive(path, {name: data if name.endswith("data.pkl") else content for name, content in members().items()})
    model = answer(path)
    if model is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about another version of the format
            held = torch.load(path, map_location="cpu", weights_only=True)
        assert_sound(model, held)


@st.composite
def reheaded(draw: st.DrawFn) -> tuple[dict[str, Any], int]:
    """Draw the header of a valid safetensors file with fields exchanged or set, and the number of bytes to put behind it."""
    offset, header = 0, dict[str, Any]()
    for key, tensor in state().items():
        header[key] = entry(offset, offset := offset + tensor.nbytes, *tensor.shape)
    numbers = st.sampled_from([-1, 0, 1, 2, 4, 2**31, 2**63, 2**64, 1.5, None, "4"])
    for _ in range(draw(st.integers(1, 3))):
        one, other = (header[draw(st.sampled_from(sorted(header)))] for _ in range(2))
        field = draw(st.sampled_from(["dtype", "shape", "data_offsets"]))
        kind = draw(st.sampled_from(["exchange", "set", "reverse", "type"]))
        if kind == "exchange":
            one[field], other[field] = other[field], one[field]
        elif kind == "reverse":
            one["shape"] = one["shape"][::-1]
        elif kind == "type":
            one["dtype"] = draw(st.sampled_from(["I32", "U32", "F16", "F64", "BF16", "F8_E4M3", "C64", "BOOL", "x"]))
        elif one[field] and isinstance(one[field], list):
            one[field] = [draw(numbers), *one[field][1:]]
    return header, offset + draw(st.sampled_from([0, 0, 0, -4, 4]))


@settings(often, derandomize=True, max_examples=150)
@given(file=reheaded())
def test_changed_safetensors_header_is_refused_or_loaded_as_safetensors_loads_it(file: tuple[dict[str, Any], int], tmp_path: Path) -> None:
    header, length = file
    numbers = torch.arange(length // 4 + 1).float() / 1000
    safetensors_file(header, numbers.numpy().tobytes()[:length])(tmp_path / "a.safetensors")
    model = answer(tmp_path / "a.safetensors")
    if model is not None:
        assert_sound(model, load_file(tmp_path / "a.safetensors"))


KINDS = st.sampled_from(["Add", "Sub", "Mul", "Div", "Relu", "Sigmoid", "Tanh", "Identity", "Concat", "Conv", "Mish", "Constant", "Pow"])


def rewire(model: Any, draw: st.DrawFn) -> None:
    """Change one thing in a graph."""
    graph = model.graph
    names = sorted({name for node in graph.node for name in (*node.input, *node.output)})
    node, at = draw(st.sampled_from(list(graph.node))), draw(st.integers(0, len(graph.node) - 1))
    tensor, other = (draw(st.sampled_from(list(graph.initializer))) for _ in range(2))
    kind = draw(st.sampled_from(["kind", "input", "output", "lose", "move", "copy", "attribute", "shape", "exchange", "result", "order"]))
    if kind == "kind":
        node.op_type = draw(KINDS)
    elif kind in ("input", "output"):
        ends = getattr(node, kind)
        if ends:
            ends[draw(st.integers(0, len(ends) - 1))] = draw(st.sampled_from([*names, "", "nowhere"]))
    elif kind in ("lose", "move", "copy"):
        twin = type(node)()
        twin.CopyFrom(node)
        if kind != "copy":
            graph.node.remove(node)
        if kind != "lose":
            graph.node.insert(at, twin)
    elif kind == "attribute" and node.attribute:
        attribute = draw(st.sampled_from(list(node.attribute)))
        value = draw(st.sampled_from([-1, 0, 1, 2, 3, 10**12]))
        attribute.i = value
        attribute.ints[:] = [value] * draw(st.integers(0, 4))
        attribute.t.raw_data = np.float32(value).tobytes() if attribute.t.raw_data else b""
    elif kind == "shape":
        tensor.dims[:] = list(tensor.dims)[::-1]
    elif kind == "exchange":
        tensor.name, other.name = other.name, tensor.name
    elif kind == "result":
        graph.output[0].name = draw(st.sampled_from(names))
    elif len(node.input) > 1:
        node.input[:] = list(node.input)[::-1]


@settings(often, derandomize=True, max_examples=150)
@given(data=st.data())
def test_rewired_onnx_graph_is_refused_or_equals_onnxruntime(data: st.DataObject, tmp_path: Path) -> None:
    onnxruntime, onnx = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx")
    graph = onnx.load_from_string(exported())
    for _ in range(data.draw(st.integers(1, 2))):
        rewire(graph, data.draw)
    (tmp_path / "a.onnx").write_bytes(graph.SerializeToString())
    model = answer(tmp_path / "a.onnx")
    if model is None:
        return
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(graph.SerializeToString(), options)
    except Exception:  # onnxruntime also refuses faults without effect
        return
    for side in (8, 12):
        image = torch.rand(1, 3, side, side)
        (expected,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
        found = model.model(image).numpy()
        assert np.abs(found - expected).max() <= 1e-2 * max(1, np.ptp(expected))
