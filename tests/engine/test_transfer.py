"""Copies to a device and back, with streams and events that are stand-ins: a CPU has none."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from torch import Tensor

from span_arch import Settings, upscale
from span_arch.engine.transfer import Overlapped

from ..samples import image, small_model, whole
from .doubles import Tiles

CPU = torch.device("cpu")
DEVICE = torch.device("cpu", 0)  # another device than "cpu" by name, to which tensors can go all the same


class Api:
    """The part of ``torch.cuda`` that `Overlapped` uses, without effect."""

    class Stream:
        def __init__(self, device: torch.device) -> None: ...

        def wait_stream(self, other: Api.Stream) -> None: ...

    class Event:
        def record(self, stream: Api.Stream) -> None: ...

        def synchronize(self) -> None: ...

    def current_stream(self, device: torch.device) -> Api.Stream:
        return self.Stream(device)

    def stream(self, stream: Api.Stream) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


@pytest.fixture(autouse=True)
def no_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "record_stream", lambda tensor, stream: None)


def overlapped(device: torch.device) -> Overlapped:
    return Overlapped(DEVICE, Api())


def test_result_through_overlapped_copies_equals_the_whole() -> None:
    network, frames = small_model(), image(40, 60, frames=3)
    context = Tiles(busy_pixels=1).context(probes={"transfer": overlapped})
    torch.testing.assert_close(upscale(network, frames, Settings(precision="float32"), context), whole(network, frames), atol=1e-5, rtol=0)


def test_without_pinned_memory_copies_are_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    real, requests = torch.empty_like, list[bool]()

    def refuse(tensor: Tensor, *, pin_memory: bool = False, **options: Any) -> Tensor:
        requests.append(pin_memory)
        if pin_memory:
            raise RuntimeError("CUDA error: out of memory")
        return real(tensor, **options)

    monkeypatch.setattr(torch, "empty_like", refuse)
    transfer, tensor = overlapped(CPU), torch.rand(1, 3, 4, 4)
    assert torch.equal(transfer.send(tensor, torch.float32, torch.contiguous_format), tensor)
    assert torch.equal(transfer.fetch(tensor, CPU)(), tensor)
    assert requests == [True, False] * 2


def test_tensor_is_fetched_only_to_main_memory() -> None:
    transfer, tensor = overlapped(CPU), torch.rand(1, 3, 4, 4)
    assert transfer.fetch(tensor, torch.device("cuda", 0))() is tensor
    assert transfer.fetch(tensor, CPU)() is not tensor


def test_tensor_on_a_device_is_sent_directly() -> None:
    on_device = torch.empty(1, 3, 4, 4, device="meta")  # as good as any that is not in main memory
    sent = Overlapped(torch.device("meta"), Api()).send(on_device, torch.float16, torch.channels_last)
    assert sent.dtype is torch.float16
    assert sent.is_contiguous(memory_format=torch.channels_last)
