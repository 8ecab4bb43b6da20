"""PSNR and SSIM."""

from __future__ import annotations

import math

import pytest
import torch

from span_arch.image_ops.metrics import quality


def test_psnr_and_ssim_of_known_images() -> None:
    flat = torch.full((32, 32, 3), 100 / 255)
    assert quality(flat, flat, border=4).psnr == math.inf
    assert quality(flat, flat, border=4).ssim == pytest.approx(1)
    brighter = quality(flat + 10 / 255, flat, border=0)  # luma spans 219 of 255 levels
    assert brighter.psnr == pytest.approx(20 * math.log10(255 / (10 * 219 / 255)), abs=1e-6)
