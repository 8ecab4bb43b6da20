"""Gives the weights of a graph their names back, where an exporter has thrown them away.

The convolutions of a graph come in the order in which they are computed, so for every architecture and number of blocks one
compares the two lists. A list that fits in number, and then in shape, is a proposal; whether it is right, `Graph.check` finds out by
computing. Where paths run beside each other, as in SPANF, grouped convolutions are listed first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import cast

import torch
from torch import Tensor, fx, nn

from ..archs.record import Architecture
from ..archs.registry import FAMILY
from ..checkpoints.exported_graph import Graph
from ..errors import UnknownArchitectureError

_MOST_BLOCKS = 64


def proposals(graph: Graph) -> Iterator[dict[str, Tensor]]:
    """All state dicts that the weights of a graph may be of, each by as many weights as the graph has.

    Raises:
        UnknownArchitectureError: there are none, so that the graph is of none of the family.
    """
    steps = sorted(graph.convolutions, key=lambda step: step.settings.get("groups", 1) == 1)
    found = False
    for architecture in FAMILY:
        for names in _name_lists(architecture, len(steps)):
            found = True
            yield {
                f"{name}.{kind}": graph.constants[key]
                for name, step in zip(names, steps, strict=True)
                for kind, key in zip(("weight", "bias"), step.inputs[1:], strict=False)
                if key in graph.constants
            }
    if not found:
        raise UnknownArchitectureError(
            f"The graph has lost the names of its weights, and its {len(steps)} convolutions are not those of any network of the SPAN "
            "family. If it is one, take the network's .safetensors or .pth file."
        )


def _name_lists(architecture: Architecture, count: int) -> Iterator[list[str]]:
    """The names of all convolutions in the order in which they are computed, for every network that has so many."""
    for example in architecture.examples:
        one, two = (len(_convolutions(example, blocks)) for blocks in (1, 2))
        more, rest = divmod(count - one, two - one)  # every block after the first has as many
        if rest == 0 and 0 <= more < _MOST_BLOCKS:
            yield _convolutions(example, 1 + more)


def _convolutions(example: Callable[[int], nn.Module], blocks: int) -> list[str]:
    with torch.device("meta"):
        network = example(blocks)
    modules = cast("Iterable[tuple[str, nn.Module]]", network.named_modules())
    groups = {name: module.groups for name, module in modules if isinstance(module, nn.Conv2d)}
    order = [str(node.target) for node in fx.Tracer().trace(network).nodes if node.op == "call_module" and str(node.target) in groups]
    return sorted(order, key=lambda name: groups[name] == 1)
