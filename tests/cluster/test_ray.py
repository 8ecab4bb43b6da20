"""Many files on a Ray cluster. For Ray, the nodes on this machine are machines, which can lose their workers or be lost themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from span_arch import cluster, from_state_dict, upscale
from span_arch.archs.normalisation import PAPER
from span_arch.archs.span import ARCHITECTURE as SPAN
from span_arch.batch import Job, Outcome, run_job
from span_arch.cluster.dispatch import Dispatcher
from span_arch.cluster.ray_connection import AUTO, ray_session
from span_arch.cluster.ray_worker import Weights
from span_arch.cluster.staging import Staging
from span_arch.cluster.video_job import VideoJob
from span_arch.errors import ClusterError, DiskFullError, ImageError, OutputError, VideoError
from span_arch.models.build import FamilyModel

from ..variants import variant
from ..video.films import FFV1, assert_same, film, read

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\.data\.context"),  # Ray warns of its own defaults
]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def machines() -> Iterator[Any]:
    """Return a cluster of a head without CPUs and two machines with one CPU each, to which this process is connected."""
    ray: Any = pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[data]'")
    from ray.cluster_utils import Cluster

    ray_cluster = Cluster(initialize_head=True, connect=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        ray_cluster.add_node(num_cpus=1)
    ray_cluster.wait_for_nodes()
    yield ray_cluster
    ray.shutdown()
    ray_cluster.shutdown()


def network() -> FamilyModel:
    return from_state_dict(variant(SPAN, 3, 8, 1, 2, cat_channels=8, normalisation=PAPER).network().state_dict(), normalise=PAPER)


def draw(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    for number in range(count):
        levels = np.random.default_rng(number).integers(0, 255, (12 + number % 3, 16, 3), dtype=np.uint8)
        Image.fromarray(levels).save(folder / f"{number:03}.png")
    return sorted(folder.iterdir())


def jobs_for(sources: list[Path], folder: Path, **fields: Any) -> list[Job]:
    return [Job(source, folder / source.name, make_folder=True, **fields) for source in sources]


def assert_upscaled(outcomes: list[Outcome], model: FamilyModel) -> None:
    for outcome in outcomes:
        assert outcome.state == "done", outcome
        image = torch.from_numpy(np.array(Image.open(outcome.job.source))).float()[None] / 255
        expected = (upscale(model, image)[0] * 255).round().byte().numpy()
        assert np.abs(np.array(Image.open(outcome.job.target)).astype(int) - expected).max() <= 1, outcome


def names(folder: Path) -> set[str]:
    """Return the names of all files and folders, hidden ones too."""
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


def test_work_lost_with_a_worker_or_a_machine_is_repeated(machines: Any, tmp_path: Path) -> None:
    model, sources = network(), draw(tmp_path / "in", 200)
    outcomes: list[Outcome] = []
    killed = lost = None
    for outcome in cluster.upscale_on_ray(model, jobs_for(sources, tmp_path / "out")):
        outcomes.append(outcome)
        if killed is None and len(outcomes) >= 24:
            killed = workers()[0]
            killed.send_signal(signal.SIGKILL)
        if lost is None and len(outcomes) >= 96:
            lost = machines.list_all_nodes()[-1]
            machines.remove_node(lost, allow_graceful=False)
    assert killed is not None
    assert lost is not None
    assert sorted(outcome.job.source for outcome in outcomes) == sources
    assert_upscaled(outcomes, model)
    assert names(tmp_path / "out") == {source.name for source in sources}


def test_failing_existing_and_skipped_files_among_others(machines: Any, tmp_path: Path) -> None:
    model, images, whole, cut = network(), draw(tmp_path / "in", 12), tmp_path / "a.mkv", tmp_path / "b.mkv"
    broken, kept, skipped, *good = images
    broken.write_bytes(b"not an image")
    film(whole, size=(64, 64))
    cut.write_bytes(whole.read_bytes()[:300])
    jobs = {job.source: job for job in jobs_for([*images, whole, cut], tmp_path / "out")}
    jobs[skipped], jobs[whole] = replace(jobs[skipped], existing="skip"), replace(jobs[whole], video=FFV1)
    (tmp_path / "out").mkdir()
    for source in (kept, skipped):
        jobs[source].target.write_bytes(b"was here")

    outcomes = {outcome.job: outcome for outcome in cluster.upscale_on_ray(model, jobs.values(), segment_frames=7)}

    assert {source: type(outcomes[jobs[source]].error) for source in (broken, kept, cut)} == {
        broken: ImageError, kept: OutputError, cut: VideoError,
    }  # fmt: skip
    assert outcomes[jobs[skipped]].state == "skipped"
    assert jobs[kept].target.read_bytes() == jobs[skipped].target.read_bytes() == b"was here"
    assert_upscaled([outcomes[jobs[source]] for source in good], model)
    assert_same_video(outcomes[jobs[whole]], model, tmp_path / "alone.mkv")
    assert names(tmp_path / "out") == {source.name for source in jobs} - {broken.name, cut.name}


def assert_same_video(outcome: Outcome, model: FamilyModel, alone: Path) -> None:
    """Compare a video with that of a single process."""
    expected = run_job(model, replace(outcome.job, target=alone))
    assert (outcome.state, outcome.frames) == ("done", 20)
    assert (outcome.source_size, outcome.result_size) == (expected.source_size, expected.result_size)
    (frames, times), (whole, whole_times) = read(outcome.job.target), read(alone)
    assert_same(frames, whole)
    assert times == whole_times


def test_finished_segments_are_reused(machines: Any, tmp_path: Path) -> None:
    model, source = network(), film(tmp_path / "a.mkv", size=(64, 64))
    (job,) = jobs_for([source], tmp_path / "out", video=FFV1)
    segments = tmp_path / "out" / "a.mkv.segments"

    def take_the_target() -> None:
        while not (segments / "manifest.json").exists():
            time.sleep(0.01)
        job.target.touch()

    thread = threading.Thread(target=take_the_target, daemon=True)
    thread.start()
    (outcome,) = cluster.upscale_on_ray(model, [job], segment_frames=7)
    thread.join(10)
    assert isinstance(outcome.error, OutputError)
    assert len(list(segments.glob("*.mkv"))) >= 3
    job.target.unlink()

    video = VideoJob(job)
    video.begin(model, lambda: [])
    assert not video.tasks
    video.close()
    (outcome,) = cluster.upscale_on_ray(model, [job])
    assert_same_video(outcome, model, tmp_path / "alone.mkv")
    assert names(tmp_path / "out") == {"a.mkv"}


def test_full_disk_ends_the_run(machines: Any, tmp_path: Path) -> None:
    def full(*_: Path) -> None:
        raise DiskFullError("There is no room left.")

    with Staging(full) as staging, ray_session(AUTO) as ray:
        (outcome,) = Dispatcher(ray, network(), staging).run(jobs_for(draw(tmp_path / "in", 30), tmp_path / "out"))
    assert isinstance(outcome.error, DiskFullError)
    assert names(tmp_path / "out") == set()


def test_worker_that_cannot_start_is_reported(machines: Any, tmp_path: Path) -> None:
    with Staging() as staging, ray_session(AUTO) as ray:
        ray.data.DataContext.get_current().max_consecutive_actor_init_deaths = 1
        jobs = jobs_for(draw(tmp_path / "in", 2), tmp_path / "out")
        with pytest.raises(ClusterError, match=r"UnknownArchitectureError.*same versions"):
            list(Dispatcher(ray, network(), staging, weights=Weights({}, None)).run(jobs))
    assert names(tmp_path / "out") == set()


def test_missing_ray_is_reported(tmp_path: Path) -> None:
    draw(tmp_path / "in", 1)
    (tmp_path / "ray.py").write_text("raise ModuleNotFoundError")  # found before the package
    assert command(tmp_path, "local").wait(60) == 7
    assert "pip install" in (tmp_path / "err").read_text()
    assert not (tmp_path / "out").exists()


def test_address_without_a_cluster_is_reported(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[data]'")
    draw(tmp_path / "in", 1)
    assert command(tmp_path, "127.0.0.1:1").wait(60) == 8
    assert "No Ray cluster could be joined at 127.0.0.1:1" in (tmp_path / "err").read_text()


def test_ray_client_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[data]'")
    draw(tmp_path / "in", 1)
    assert command(tmp_path, "ray://127.0.0.1:10001").wait(60) == 8
    assert "The address ray://127.0.0.1:10001 is for Ray's client" in (tmp_path / "err").read_text()


@pytest.mark.parametrize("named_by", ["address", "environment"])
def test_command_joins_a_running_cluster(machines: Any, named_by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = draw(tmp_path / "in", 4)
    if named_by == "environment":
        monkeypatch.setenv("RAY_ADDRESS", machines.address)
    before = len(cluster_jobs())
    assert command(tmp_path, machines.address if named_by == "address" else "auto").wait(60) == 0, (tmp_path / "err").read_text()
    assert names(tmp_path / "out") == {source.name for source in sources}
    assert len(cluster_jobs()) == before + 1


def cluster_jobs() -> list[Any]:
    """Return all processes that have ever connected to the cluster."""
    from ray._private.state import state

    return list(state.job_table())


def command(folder: Path, address: str) -> subprocess.Popen[bytes]:
    """Start the command line in a session of its own, as in a terminal."""
    with (folder / "out.txt").open("wb") as out, (folder / "err").open("wb") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "span_arch", "in", "out", "--model", "spanx2_ch48", "--ray", address],
            cwd=folder, stdout=out, stderr=err, start_new_session=True, env={**os.environ, "PYTHONPATH": f".{os.pathsep}{ROOT}"},
        )  # fmt: skip


@pytest.mark.parametrize("number", [None, signal.SIGINT, signal.SIGTERM], ids=str)
def test_command_leaves_no_cluster_behind(number: signal.Signals | None, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[data]'")
    sources = draw(tmp_path / "in", 4 if number is None else 2000)
    process = command(tmp_path, "local")
    started: set[psutil.Process] = set()
    while process.poll() is None:
        started |= {psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)}
        if number is not None and (tmp_path / "out").exists() and any((tmp_path / "out").glob("*.png")):
            os.killpg(process.pid, number)
            break
        time.sleep(0.1)
    code = process.wait(60)
    out, err = (tmp_path / "out.txt").read_text(), (tmp_path / "err").read_text()
    psutil.wait_procs(started, timeout=20)
    assert not [one for one in started if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert not [name for name in names(tmp_path / "out") if not name.endswith(".png") or name.startswith(".")]
    if number is None:
        assert (code, err, out.splitlines()[0].split(" in ")[0]) == (0, "", "4 done"), err
        assert names(tmp_path / "out") == {source.name for source in sources}
    else:
        assert (code, err.splitlines()[0].split(";")[0]) == (130, "span-upscale: stopped"), err
