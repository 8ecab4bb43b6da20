"""Looks through pickles without running them: what they ask to import, and whether they are made to explode."""

from __future__ import annotations

import io
import pickletools
import warnings

MOST_ELEMENTS = 100_000
"""Of one tuple, with all that is in it. Those of state dicts hold shapes and strides."""

_LEGACY_PICKLES = 5
"""How many stand at the beginning of a file from before PyTorch 1.6; raw numbers follow."""


class PickleBombError(Exception):
    """A tuple of tuples of tuples, each many times the same one: small in the file, and endless to whoever looks at it."""


def imports(data: bytes) -> set[str]:
    """The dotted names of all functions and classes that pickles ask for.

    Args:
        data: a pickle, or all that is in a file of PyTorch from before 1.6.

    Raises:
        ValueError: it is no pickle.
        PickleBombError: a tuple in it would have more than `MOST_ELEMENTS` elements.
    """
    stream = io.BytesIO(data)
    found: set[str] = set()
    for _ in range(_LEGACY_PICKLES):
        if stream.tell() < len(data):
            found |= _imports(stream)
    return found


def _imports(stream: io.BytesIO) -> set[str]:
    found: set[str] = set()
    recent: list[str] = []  # the strings from which STACK_GLOBAL takes module and name
    stack: list[int] = []  # of every object its elements; of a mark, 0
    memo: dict[object, int] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escape sequences in strings
        for opcode, argument, _ in pickletools.genops(stream):
            name = opcode.name
            if name == "GLOBAL":
                found.add(str(argument).replace(" ", "."))
            elif name == "STACK_GLOBAL":
                found.add(".".join(recent[-2:]))
            elif isinstance(argument, str):
                recent.append(argument)
            if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
                memo[len(memo) if argument is None else argument] = stack[-1] if stack else 1
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                stack.append(memo.get(argument, 1))
            elif name == "DUP":
                stack.append(stack[-1] if stack else 1)
            else:
                _step(opcode, stack)
    return found


def _step(opcode: pickletools.OpcodeInfo, stack: list[int]) -> None:
    """Does to the counts of elements what an opcode does to the objects."""
    taken: list[int] = []
    if pickletools.markobject in opcode.stack_before:
        while stack and (count := stack.pop()):
            taken.append(count)
        rest = opcode.stack_before.index(pickletools.markobject)
    else:
        rest = len(opcode.stack_before)
    for _ in range(rest):
        taken.append(stack.pop() if stack else 1)
    elements = 1 + sum(taken) if opcode.name.startswith("TUPLE") else 1  # others cannot be keys, nor are looked into
    if elements > MOST_ELEMENTS:
        raise PickleBombError
    stack.extend(0 if made is pickletools.markobject else elements for made in opcode.stack_after)
