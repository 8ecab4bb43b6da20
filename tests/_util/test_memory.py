"""The device to compute on, by what torch finds."""

from __future__ import annotations

import pytest
import torch

from span_arch._util.memory import best_device


@pytest.mark.parametrize(
    ("available", "best"),
    [((), "cpu"), (("mps",), "mps"), (("xpu", "mps"), "xpu"), (("cuda", "xpu", "mps"), "cuda")],
    ids=["none", "Apple", "Intel", "NVIDIA"],
)
def test_best_device_is_a_gpu_if_there_is_one(available: tuple[str, ...], best: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, api in (("cuda", torch.cuda), ("xpu", torch.xpu), ("mps", torch.backends.mps)):
        monkeypatch.setattr(api, "is_available", lambda name=name: name in available)
    assert best_device() == torch.device(best)
