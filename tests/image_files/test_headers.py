"""Image headers, read without decoding pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from span_arch.image_files import read_header, read_image

from ..batch.sample_files import animate, draw


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("orientation", [None, 1, 3, 6])
def test_header_agrees_with_decoded_image_without_decoding_it(mode: str, orientation: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    name = "a.tiff" if mode in ("CMYK", "F") else "a.png"
    if mode in ("I;16", "F"):
        levels = np.random.default_rng(0).uniform(0, 1, (14, 20)).astype(np.float32)
        Image.fromarray(levels if mode == "F" else (levels * 65535).astype(np.uint16)).save(name, exif=exif)
    else:
        draw(name, mode, exif=exif, **({"compression": "tiff_lzw"} if mode == "CMYK" else {}))
    decoded = read_image(Path(name))

    def load(*_: object) -> None:
        raise AssertionError("pixels are decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    header = read_header(Path(name))
    assert (1, header.height, header.width, header.channels) == decoded.image.shape
    assert (header.bits, header.frames) == (decoded.info.bits, 1)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_header_counts_frames(name: str) -> None:
    assert read_header(animate(name)).frames == 4
