"""Many files on a cluster of Ray: two machines, as far as Ray can tell, of which one loses its worker, or is lost itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

import span_arch
from span_arch import cluster, from_state_dict, upscale
from span_arch.archs._normalisation import PAPER
from span_arch.archs.span import ARCHITECTURE as SPAN
from span_arch.batch import Job, Outcome, upscale_jobs
from span_arch.cluster import run, staging
from span_arch.cluster.work import Weights
from span_arch.errors import ClusterError, DiskFullError, ImageError, MissingExtraError, OutputError, VideoError
from span_arch.model import FamilyModel
from span_arch.video import VideoSettings

from .test_video_files import FFV1, assert_same, make, read
from .variants import variant

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\.data\.context"),  # it warns of its own defaults
]

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def machines() -> Iterator[Any]:
    """A head that computes nothing, and two machines with a processor each. This process is connected."""
    ray: Any = pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[data]'")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, connect=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def network() -> FamilyModel:
    return from_state_dict(variant(SPAN, 3, 8, 1, 2, cat_channels=8, normalisation=PAPER).network().state_dict(), normalise=PAPER)


def draw(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    for number in range(count):
        levels = np.random.default_rng(number).integers(0, 255, (12 + number % 3, 16, 3), dtype=np.uint8)
        Image.fromarray(levels).save(folder / f"{number:03}.png")
    return sorted(folder.iterdir())


def jobs_for(sources: list[Path], folder: Path, **how: Any) -> list[Job]:
    return [Job(source, folder / source.name, make_folder=True, **how) for source in sources]


def assert_right(outcomes: list[Outcome], model: FamilyModel) -> None:
    for outcome in outcomes:
        assert outcome.state == "done", outcome
        image = torch.from_numpy(np.array(Image.open(outcome.job.source))).float()[None] / 255
        expected = (upscale(model, image)[0] * 255).round().byte().numpy()
        assert np.abs(np.array(Image.open(outcome.job.target)).astype(int) - expected).max() <= 1, outcome


def names(folder: Path) -> set[str]:
    """Of all files and folders, hidden ones too."""
    return {path.name for path in folder.rglob("*")}


def workers() -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.cmdline()[0].startswith("ray::MapWorker"):
                found.append(process)
        except (psutil.Error, IndexError):
            continue
    return found


@pytest.mark.parametrize("lost", ["a worker", "a machine"])
def test_what_is_lost_is_done_again(lost: str, machines: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, sources, moved = network(), draw(tmp_path / "in", 200), Counter[Path]()
    move = staging.move
    monkeypatch.setattr(staging, "move", lambda path, target: (moved.update([target]), move(path, target)))
    outcomes: list[Outcome] = []
    killed: set[int] = set()
    for outcome in cluster.upscale_on_ray(model, jobs_for(sources, tmp_path / "out")):
        outcomes.append(outcome)
        if not killed and len(outcomes) >= 40 and len(at_work := workers()) == 2:
            killed = {process.pid for process in at_work}
            if lost == "a worker":
                at_work[0].send_signal(signal.SIGKILL)
            else:
                machines.remove_node(machines.list_all_nodes()[-1], allow_graceful=False)
    assert killed
    assert sorted(outcome.job.source for outcome in outcomes) == sources
    assert_right(outcomes, model)
    assert moved == {tmp_path / "out" / source.name: 1 for source in sources}
    assert names(tmp_path / "out") == {source.name for source in sources}
    if lost == "a machine":
        machines.add_node(num_cpus=1)
        machines.wait_for_nodes()
