"""Inspection of pickles without running them: what they import, and whether they would fill the memory.

PyTorch's unpickler for weights runs next. It executes no foreign code, but a hostile pickle can make it fill the memory or run for ever: it
calls the functions that it knows with any arguments, hashes any key, and prints the objects that it rejects. So only pickles that look
like weights reach it.
"""

from __future__ import annotations

import io
import pickletools
import re
from dataclasses import dataclass

from .._util.process import ignored_warnings

MAX_ELEMENTS = 1_000
"""Elements of one tuple with all tuples in it. Tuples of state dicts hold shapes and strides. Hashing a deep one overflows the stack."""

MAX_OPCODES = 1 << 19
"""Opcodes of one pickle. A state dict needs forty for a tensor."""

_CALLED = frozenset({
    "collections.Counter", "collections.OrderedDict", "torch.Size", "torch._utils._rebuild_meta_tensor_no_storage",
    "torch._utils._rebuild_parameter", "torch._utils._rebuild_qtensor", "torch._utils._rebuild_sparse_tensor",
    "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3", "torch.device",
    "torch.nn.parameter.Parameter", "torch.serialization._get_layout",
})  # fmt: skip
"""The functions that pickles of weights call. Some others that PyTorch would call take memory for nothing or hang."""

_NAMED = re.compile(r"torch\.((cuda\.|storage\.)?[A-Z]\w+Storage|u?int\d+|q\w+|b?float\w+|complex\w+|bool|per_\w+)")
"""Names that such pickles use without a call: types of storages and of numbers."""

_LEGACY_PICKLES = 5
"""The pickles at the beginning of a file from before PyTorch 1.6. Raw numbers follow them."""


class PickleBombError(Exception):
    """Nested tuples that repeat each other: small in the file, and endless for a reader that follows them."""


def foreign_names(data: bytes) -> set[str]:
    """Return the dotted names of all functions and classes that pickles import and weights do not need.

    Args:
        data: a pickle, or the whole content of a file from before PyTorch 1.6.

    Raises:
        ValueError: it is not a pickle, has more than `MAX_OPCODES`, or calls something that is not a function.
        PickleBombError: a tuple in it would have more than `MAX_ELEMENTS` elements.
    """
    stream = io.BytesIO(data)
    found: set[str] = set()
    for _ in range(_LEGACY_PICKLES):
        if stream.tell() < len(data):
            found |= _Scan().run(stream)
    return {name for name in found if name not in _CALLED and not _NAMED.fullmatch(name)}


@dataclass(frozen=True)
class _Text:
    """A text in a pickle, from which STACK_GLOBAL may make a name."""

    value: str


class _Scan:
    """A pickle's stack that holds, for every object, only its number of elements, its text or its name; for a mark, 0."""

    def __init__(self) -> None:
        self._stack: list[int | str | _Text] = []
        self._memo: dict[object, int | str | _Text] = {}

    def run(self, stream: io.BytesIO) -> set[str]:
        found: set[str] = set()
        with ignored_warnings():  # about escape sequences in strings
            for steps, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
                if steps == MAX_OPCODES:
                    raise ValueError(f"a pickle of more than {MAX_OPCODES:,} opcodes")
                name: str | None = None
                if opcode.name in ("GLOBAL", "INST", "STACK_GLOBAL"):
                    name = self._global() if argument is None else str(argument).replace(" ", ".")
                    found.add(name)
                self._step(opcode, argument, name)
        return found

    def _global(self) -> str:
        """Return the name that STACK_GLOBAL makes of the two topmost texts."""
        parts = [item.value for item in self._stack[-2:] if isinstance(item, _Text)]
        if len(parts) != 2:
            raise ValueError("it uses a name that is not text")
        return ".".join(parts)

    def _step(self, opcode: pickletools.OpcodeInfo, argument: object, name: str | None) -> None:
        """Apply an opcode to the stack of counts."""
        stack, memo = self._stack, self._memo
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if argument is None else argument] = stack[-1] if stack else 1
        elif opcode.name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo.get(argument, 1))
        elif opcode.name == "DUP":
            stack.append(stack[-1] if stack else 1)
        else:
            taken = self._take(opcode.stack_before)
            if opcode.name in ("REDUCE", "NEWOBJ"):
                function = taken[-1]
                if not isinstance(function, str) or _NAMED.fullmatch(function):
                    raise ValueError("it calls something that is not a function")
            elements = 1  # only tuples are counted: other containers cannot be keys
            if opcode.name.startswith("TUPLE"):
                elements += sum(count if isinstance(count, int) else 1 for count in taken)
                if elements > MAX_ELEMENTS:
                    raise PickleBombError
            result = _Text(argument) if isinstance(argument, str) and name is None else name or elements
            stack.extend(0 if made is pickletools.markobject else result for made in opcode.stack_after)

    def _take(self, wanted: list[pickletools.StackObject]) -> list[int | str | _Text]:
        """Pop the operands of an opcode from the stack, the topmost first."""
        taken: list[int | str | _Text] = []
        rest = len(wanted)
        if pickletools.markobject in wanted:
            while self._stack and (count := self._stack.pop()) != 0:
                taken.append(count)
            rest = wanted.index(pickletools.markobject)
        return [*taken, *(self._stack.pop() if self._stack else 1 for _ in range(rest))]
