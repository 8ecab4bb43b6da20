"""Give the weights of a graph their names back, if an exporter has dropped them.

A graph lists its convolutions in the order of computation. For each architecture and number of blocks, the list is compared with that
of our network. A list of the same length gives a candidate state dict. `Graph.check` then finds out by computing if it is right.
Parallel paths, as in SPANF, have no fixed order, so grouped convolutions are listed first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from ..archs.record import Architecture
from ..archs.registry import FAMILY
from ..checkpoints.exported_graph import Graph
from ..errors import UnknownArchitectureError
from ..streaming.operations import Convolution
from ..streaming.traced_graph import trace

_MAX_BLOCKS = 64


def candidate_states(graph: Graph) -> Iterator[dict[str, Tensor]]:
    """Yield each state dict that the weights of a graph may be, judged by the number of its convolutions.

    Raises:
        UnknownArchitectureError: no network of the family has that many convolutions.
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
            f"The graph has lost the names of its weights, and its {len(steps)} convolutions are not those of a SPAN-family network. If it "
            "is one, use the .safetensors or .pth file of that network."
        )


def _name_lists(architecture: Architecture, count: int) -> Iterator[list[str]]:
    """Yield the names of all convolutions in the order of computation, for each network that has ``count`` of them."""
    for example in architecture.examples:
        one, two = (len(_convolutions(example, blocks)) for blocks in (1, 2))
        more, rest = divmod(count - one, two - one)  # all blocks after the first have the same number of convolutions
        if rest == 0 and 0 <= more < _MAX_BLOCKS:
            yield _convolutions(example, 1 + more)


def _convolutions(example: Callable[[int], nn.Module], blocks: int) -> list[str]:
    with torch.device("meta"):
        network = example(blocks)
    kernels = [kernel for step in trace(network).operations if isinstance(step, Convolution) for kernel in step.kernels if kernel]
    return [kernel.path for kernel in sorted(kernels, key=lambda kernel: kernel.groups == 1)]
