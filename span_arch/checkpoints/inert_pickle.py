"""Read tensors and arrays out of pickles that PyTorch's unpickler for weights does not take: TorchScript programs and NumPy arrays.

Python's own unpickler runs here, but it can reach nothing except the few functions below. They only take notes, and the notes become
tensors afterwards. The code of a TorchScript program is in other files of its archive, which nobody opens.
"""

from __future__ import annotations

import io
import pickle
import re
import sys
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

TORCHSCRIPT = re.compile(r"__torch__\..+|torch\.jit\._pickle\.\w+")
"""The names that pickles of TorchScript programs use in addition to those of weights."""

NUMPY = re.compile(r"numpy\.(ndarray|dtype|_?core\.(multiarray\.(_reconstruct|scalar)|numeric\._frombuffer))")
"""The names that pickles of NumPy arrays use."""

NUMPY_BYTES = "_codecs.encode"
"""The function that makes bytes in such pickles before protocol 3."""

_NUMBERS = re.compile(r"[<>=|]?(f[248]|[iu][1248]|b1)")
"""The types of NumPy arrays that are read."""

_STORAGES: dict[str, torch.dtype] = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
"""The first of the pickles in a file of PyTorch from before 1.6. The fourth holds the weights."""

_MAX_ELEMENTS = 1 << 28
"""Elements of one tensor."""


def load_inert(data: bytes, read_storage: Callable[[str], bytes] | None = None) -> object:
    """Return what a pickle holds: dicts, lists, numbers, text and tensors. Modules become dicts, and everything unknown becomes None.

    Args:
        data: a pickle in which `pickle_scan` finds no other names than those of weights, `TORCHSCRIPT` and `NUMPY`.
        read_storage: returns the bytes of a storage by its key. None if the pickle refers to none.

    Raises:
        Exception: of any kind, if the pickle is damaged.
    """
    stream = io.BytesIO(data)
    reader = _reader(read_storage)
    found = reader(stream)
    if found == _LEGACY_MAGIC:
        for _ in range(3):
            found = reader(stream)
    return _plain(found)


def _reader(read_storage: Callable[[str], bytes] | None) -> Callable[[io.BytesIO], object]:
    """Return a function that reads one pickle. What a pickle does to the classes below ends with this function."""

    class Module(dict[str, object]):
        """A dict whose items are the attributes that a pickle sets."""

        def __setstate__(self, state: object) -> None:
            if isinstance(state, dict):
                self.update(cast("dict[str, object]", state))

    class Note:
        """Calls of a function in a pickle, and the state that it sets on the result."""

        def __init__(self, *arguments: object) -> None:
            self.arguments, self.state = arguments, cast(object, None)

        def __setstate__(self, state: object) -> None:
            self.state = state

    class Array(Note):
        def __plain__(self) -> Tensor | None:
            _, shape, dtype, column_major, content = cast("tuple[Any, ...]", self.state)
            return _array(content, dtype, shape, "F" if column_major else "C")

    class Buffer(Note):
        def __plain__(self) -> Tensor | None:
            content, dtype, shape, order = cast("tuple[Any, ...]", self.arguments)
            return _array(content, dtype, shape, order)

    class Dtype(Note):
        def __str__(self) -> str:
            order = cast("tuple[Any, ...]", self.state)[1] if isinstance(self.state, tuple) else "="
            return f"{order}{self.arguments[0]}"

    def encode(text: object, encoding: object) -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise ValueError("text in an encoding that arrays do not use")
        return text.encode("latin-1")

    def tensor(storage: object, offset: object, size: object, stride: object, *_: object) -> Tensor:
        return _tensor(storage, offset, size, stride)

    def first(value: object = None, *_: object) -> object:
        return value

    def nothing(*_: object) -> None:
        return None

    known: dict[str, Any] = {
        "collections.OrderedDict": Module,
        "torch._utils._rebuild_tensor_v2": tensor,
        "torch._utils._rebuild_parameter": first,
        NUMPY_BYTES: encode,
        "numpy.dtype": Dtype,
        "numpy.ndarray": Note,
    }

    class Unpickler(pickle.Unpickler):
        @override
        def find_class(self, module_name: str, global_name: str, /) -> Any:
            name = f"{module_name}.{global_name}"
            if name in known:
                return known[name]
            if name.startswith("__torch__."):
                return Module
            if name.endswith("Storage"):
                return global_name
            if name.startswith("torch.jit._pickle."):
                return first
            return Array if name.endswith("._reconstruct") else Buffer if name.endswith("._frombuffer") else nothing

        @override
        def persistent_load(self, pid: Any) -> object:
            kind, storage, key, _, count = pid
            dtype = _STORAGES[storage]
            if kind != "storage" or read_storage is None or not isinstance(key, str):
                raise pickle.UnpicklingError("a reference to something other than a storage")
            content = read_storage(key)
            if len(content) != count * dtype.itemsize:
                raise pickle.UnpicklingError(f"a storage of {len(content)} bytes for {count} numbers")
            return torch.frombuffer(bytearray(content), dtype=dtype) if content else torch.empty(0, dtype=dtype)

    return lambda stream: Unpickler(stream).load()


def _plain(value: object) -> object:
    """Return containers with tensors in place of notes. Each container is followed once."""
    done: dict[int, Any] = {}
    waiting: list[tuple[Any, Any]] = []

    def visit(item: Any) -> object:
        if hasattr(item, "__plain__"):
            return item.__plain__()
        if not _is_container(item):
            return item
        if id(item) not in done:
            done[id(item)] = dict[object, object]() if _is_dict(item) else list[object]()
            waiting.append((item, done[id(item)]))
        return done[id(item)]

    result = visit(value)
    while waiting:  # not recursive, because a pickle may nest deeper than Python's stack
        source, target = waiting.pop()
        if _is_dict(source):
            target.update({key: visit(item) for key, item in cast("Any", dict).items(source)})
        else:
            target.extend(map(visit, source))
    return result


def _is_container(item: object) -> bool:
    return isinstance(item, (dict, list, tuple))


def _is_dict(item: object) -> bool:
    return isinstance(item, dict)


def _array(content: object, dtype: object, shape: Any, order: str) -> Tensor | None:
    """Return a NumPy array of numbers as a tensor, or None for an array of other things."""
    if not _NUMBERS.fullmatch(str(dtype)) or not isinstance(content, (bytes, bytearray)):
        return None
    array: Any = np.frombuffer(content, str(dtype)).reshape(tuple(shape), order="F" if order == "F" else "C")
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C", copy=True))


def _tensor(storage: object, offset: Any, size: Any, stride: Any) -> Tensor:
    numbers = (offset, *size, *stride)
    if not isinstance(storage, Tensor) or not all(type(number) is int and number >= 0 for number in numbers) or len(size) != len(stride):
        raise pickle.UnpicklingError("a tensor without a storage or a shape")
    elements = 1
    for length in size:
        elements *= length
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True)) if elements else 0
    if elements > _MAX_ELEMENTS or last >= max(1, storage.numel()):
        raise pickle.UnpicklingError("a tensor larger than its storage")
    return storage.as_strided(size, stride, offset)


def native_order(text: bytes) -> bool:
    """Return True if the ``byteorder`` of an archive is that of this machine."""
    return text.decode("ascii", "replace").strip() == sys.byteorder
