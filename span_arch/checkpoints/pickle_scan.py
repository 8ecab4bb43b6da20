"""Looks through pickles without running them: what they ask to import, and whether they are made to explode.

What follows is PyTorch's own unpickler for weights. It runs no code that a pickle brings, but it was not made to withstand one
that wants to fill memory or to take for ever: it calls what it knows with any arguments, hashes any key, and prints whatever it
objects to. So a pickle that does not look like one of weights never gets there.
"""

from __future__ import annotations

import io
import pickletools
import re

from .._util.process import ignored_warnings

MOST_ELEMENTS = 1_000
"""Of one tuple, with all that is in it. Those of state dicts hold shapes and strides; hashing a deep one would overflow the stack."""

MOST_STEPS = 1 << 19
"""Of one pickle. A state dict takes forty for a tensor."""

_CALLED = frozenset({
    "collections.Counter", "collections.OrderedDict", "torch.Size", "torch._utils._rebuild_meta_tensor_no_storage",
    "torch._utils._rebuild_parameter", "torch._utils._rebuild_qtensor", "torch._utils._rebuild_sparse_tensor",
    "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3", "torch.device",
    "torch.nn.parameter.Parameter", "torch.serialization._get_layout",
})  # fmt: skip
"""What the pickles of weights call. Of what PyTorch would call besides, some takes memory for nothing, some hangs."""

_NAMED = re.compile(r"torch\.((cuda\.|storage\.)?[A-Z]\w+Storage|u?int\d+|q\w+|b?float\w+|complex\w+|bool|per_\w+)")
"""What they only name: types of storages and of numbers."""

_LEGACY_PICKLES = 5
"""How many stand at the beginning of a file from before PyTorch 1.6; raw numbers follow."""


class PickleBombError(Exception):
    """A tuple of tuples of tuples, each many times the same one: small in the file, and endless to whoever looks at it."""


def strangers(data: bytes) -> set[str]:
    """The dotted names of all functions and classes that pickles ask for and that those of weights have no need of.

    Args:
        data: a pickle, or all that is in a file of PyTorch from before 1.6.

    Raises:
        ValueError: it is no pickle, has more than `MOST_STEPS`, or calls what is no function.
        PickleBombError: a tuple in it would have more than `MOST_ELEMENTS` elements.
    """
    stream = io.BytesIO(data)
    found: set[str] = set()
    for _ in range(_LEGACY_PICKLES):
        if stream.tell() < len(data):
            found |= _Scan().run(stream)
    return {name for name in found if name not in _CALLED and not _NAMED.fullmatch(name)}


class _Scan:
    """A pickle's stack, on which of every object there is but the number of its elements, or its name; of a mark, 0."""

    def __init__(self) -> None:
        self._stack: list[int | str] = []
        self._memo: dict[object, int | str] = {}
        self._texts = ["", ""]  # the last two, from which STACK_GLOBAL takes module and name

    def run(self, stream: io.BytesIO) -> set[str]:
        found: set[str] = set()
        with ignored_warnings():  # pickletools warns of escape sequences in strings
            for steps, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
                if steps == MOST_STEPS:
                    raise ValueError(f"a pickle of more than {MOST_STEPS:,} steps")
                name: str | None = None
                if opcode.name in ("GLOBAL", "INST", "STACK_GLOBAL"):
                    name = ".".join(self._texts) if argument is None else str(argument).replace(" ", ".")
                    found.add(name)
                elif isinstance(argument, str):
                    self._texts = [self._texts[1], argument]
                self._step(opcode, argument, name)
        return found

    def _step(self, opcode: pickletools.OpcodeInfo, argument: object, name: str | None) -> None:
        """Does to the counts of elements what an opcode does to the objects."""
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
                    raise ValueError("it calls what is no function")
            elements = 1  # only tuples can be keys, and are looked into
            if opcode.name.startswith("TUPLE"):
                elements += sum(count if isinstance(count, int) else 1 for count in taken)
                if elements > MOST_ELEMENTS:
                    raise PickleBombError
            stack.extend(0 if made is pickletools.markobject else name or elements for made in opcode.stack_after)

    def _take(self, wanted: list[pickletools.StackObject]) -> list[int | str]:
        """What an opcode takes off the stack, the topmost first."""
        taken: list[int | str] = []
        rest = len(wanted)
        if pickletools.markobject in wanted:
            while self._stack and (count := self._stack.pop()) != 0:
                taken.append(count)
            rest = wanted.index(pickletools.markobject)
        return [*taken, *(self._stack.pop() if self._stack else 1 for _ in range(rest))]
