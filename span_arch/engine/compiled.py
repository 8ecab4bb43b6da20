"""``torch.compile``, for users who ask for it."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

from .._util import memory

_log = logging.getLogger(__name__)


class Compiled(nn.Module):
    """A network that is compiled for the shape of the first image it is given.

    Images of other shapes run uncompiled, so that nothing is compiled twice. Without a compiler, all images run uncompiled.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._shape: torch.Size | None = None
        self._fast: Callable[[Tensor], Tensor] | None = torch.compile(network.forward, dynamic=False)

    def forward(self, image: Tensor) -> Tensor:
        self._shape = self._shape or image.shape
        if self._fast is not None and image.shape == self._shape:
            try:
                return self._fast(image)
            except Exception as error:  # compilers raise all kinds of errors
                if memory.is_out_of_memory(error):
                    raise
                self._fast = None
                _log.info("torch.compile does not work here, so the network runs uncompiled: %s", error)
        return self.network(image)
