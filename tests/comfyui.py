"""A real ComfyUI with the pack installed, running on the CPU.

``COMFYUI_DIR`` names the folder of ComfyUI. ``COMFYUI_PYTHON`` names a Python with its requirements and ours, by default the Python of
the tests.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

PACK = Path(__file__).parents[1]
COMFYUI = os.environ.get("COMFYUI_DIR")
PYTHON = os.environ.get("COMFYUI_PYTHON", sys.executable)


class Host:
    """A running ComfyUI."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.url = folder, f"http://127.0.0.1:{port}"

    def read(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return answer.read()

    def get(self, path: str) -> Any:
        return json.loads(self.read(path))

    def post(self, path: str, **content: Any) -> Any:
        request = urllib.request.Request(self.url + path, json.dumps(content).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def queue(self, graph: dict[str, Any]) -> str:
        return self.post("/prompt", prompt=graph)["prompt_id"]

    def wait(self, prompt: str) -> dict[str, Any]:
        for _ in range(600):
            history = self.get(f"/history/{prompt}")
            if prompt in history:
                return history[prompt]
            time.sleep(0.1)
        raise TimeoutError(prompt)

    def run(self, graph: dict[str, Any]) -> dict[str, Any]:
        """Run a graph that succeeds, and return its outputs."""
        ended = self.wait(self.queue(graph))
        assert ended["status"]["status_str"] == "success", ended["status"]
        return ended["outputs"]

    def image(self, graph: dict[str, Any]) -> torch.Tensor:
        """Run a graph and return the image that it saves, (H, W, C) in 0..1."""
        file = self.run(graph)["save"]["images"][0]["filename"]
        return torch.from_numpy(np.array(Image.open(self.folder / "output" / file).convert("RGB"))) / 255

    def message(self, graph: dict[str, Any]) -> str:
        """Run a graph that fails, and return its error message."""
        messages = dict(self.wait(self.queue(graph))["status"]["messages"])
        return messages["execution_error"]["exception_message"]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Iterator[Host]:
    if not COMFYUI:
        pytest.skip("COMFYUI_DIR is not set to a folder of ComfyUI")
    folder = tmp_path_factory.mktemp("comfyui")
    for name in ("custom_nodes", "models/upscale_models", "input", "output"):
        (folder / name).mkdir(parents=True)
    (folder / "custom_nodes" / "span-upscale").symlink_to(PACK, target_is_directory=True)
    shutil.copy(data / "golden" / "64x64.png", folder / "input")
    shutil.copy(Path(COMFYUI) / "input" / "example.png", folder / "input")  # part of every new installation
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (1500, 1500, 3), dtype=np.uint8)).save(folder / "input" / "large.png")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log.txt").open("w") as log:
        options = f"--cpu --disable-api-nodes --port {port} --database-url sqlite:///:memory: --base-directory".split()
        process = subprocess.Popen([PYTHON, "main.py", *options, str(folder)], cwd=COMFYUI, stdout=log, stderr=subprocess.STDOUT)
        running = Host(folder, port)
        try:
            for _ in range(180):
                try:
                    running.get("/system_stats")
                    break
                except (urllib.error.URLError, ConnectionError):
                    assert process.poll() is None, (folder / "log.txt").read_text()[-2000:]
                    time.sleep(1)
            yield running
        finally:
            process.terminate()
            process.wait(30)
