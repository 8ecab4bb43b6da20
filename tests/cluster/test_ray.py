"""Many files on a cluster of Ray: two machines, as far as Ray can tell, of which one loses its worker, or is lost itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
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
from span_arch.cluster import dispatch, session, staging, video_job
from span_arch.cluster.worker import Weights
from span_arch.errors import ClusterError, DiskFullError, ImageError, MissingExtraError, OutputError, VideoError
from span_arch.models.build import FamilyModel

from ..variants import variant
from ..video.test_segments import film
from ..video.test_video_files import FFV1, assert_same, read

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\.data\.context"),  # it warns of its own defaults
]

ROOT = Path(__file__).parents[2]


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


def test_what_is_lost_with_a_worker_or_a_machine_is_done_again(machines: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, sources, moved = network(), draw(tmp_path / "in", 200), Counter[Path]()
    move = staging.move
    monkeypatch.setattr(staging, "move", lambda path, target: (moved.update([target]), move(path, target)))
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
    assert_right(outcomes, model)
    assert moved == {tmp_path / "out" / source.name: 1 for source in sources}
    assert names(tmp_path / "out") == {source.name for source in sources}


def test_pictures_and_videos_and_what_fails(machines: Any, tmp_path: Path) -> None:
    """A broken picture, a broken video, a picture that is there, and one that is there and is to be skipped, among others."""
    model, pictures, whole, cut = network(), draw(tmp_path / "in", 12), tmp_path / "a.mkv", tmp_path / "b.mkv"
    broken, kept, skipped, *good = pictures
    broken.write_bytes(b"no picture")
    film(whole, size=(64, 64))
    cut.write_bytes(whole.read_bytes()[:300])
    jobs = {job.source: job for job in jobs_for([*pictures, whole, cut], tmp_path / "out")}
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
    assert_right([outcomes[jobs[source]] for source in good], model)
    assert_same_video(outcomes[jobs[whole]], model, tmp_path / "alone.mkv")
    assert names(tmp_path / "out") == {source.name for source in jobs} - {broken.name, cut.name}


def assert_same_video(outcome: Outcome, model: FamilyModel, alone: Path) -> None:
    """Whether it is what a single process makes of it."""
    expected = run_job(model, replace(outcome.job, target=alone))
    assert (outcome.state, outcome.frames, outcome.before, outcome.after) == ("done", 20, expected.before, expected.after)
    (frames, times), (whole, whole_times) = read(outcome.job.target), read(alone)
    assert_same(frames, whole)
    assert times == whole_times


def test_segments_that_are_finished_are_not_made_again(machines: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, source = network(), film(tmp_path / "a.mkv", size=(64, 64))
    jobs = jobs_for([source], tmp_path / "out", video=FFV1)
    with monkeypatch.context() as patch:
        patch.setattr(video_job, "finish", lambda *_, **__: (_ for _ in ()).throw(OutputError("The machine is gone.")))
        (outcome,) = cluster.upscale_on_ray(model, jobs, segment_frames=7)
    assert "The machine is gone." in str(outcome)
    assert len(list((tmp_path / "out" / "a.mkv.segments").glob("*.mkv"))) == 3
    monkeypatch.setattr(video_job.Film, "take", lambda _, result: pytest.fail(f"It was made again: {result}."))
    (outcome,) = cluster.upscale_on_ray(model, jobs)
    assert_same_video(outcome, model, tmp_path / "alone.mkv")
    assert names(tmp_path / "out") == {"a.mkv"}


def test_it_ends_when_the_disk_is_full(machines: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Path) -> None:
        raise DiskFullError("There is no room left.")

    monkeypatch.setattr(staging, "move", full)
    (outcome,) = cluster.upscale_on_ray(network(), jobs_for(draw(tmp_path / "in", 30), tmp_path / "out"))
    assert isinstance(outcome.error, DiskFullError)
    assert names(tmp_path / "out") == set()


def test_a_worker_that_cannot_be_started_is_told(machines: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch.Weights, "of", lambda _: Weights({}, None))
    monkeypatch.setitem(session.QUIET_AND_PATIENT, "max_consecutive_actor_init_deaths", 1)
    with pytest.raises(ClusterError, match=r"UnknownArchitectureError.*same versions"):
        list(cluster.upscale_on_ray(network(), jobs_for(draw(tmp_path / "in", 2), tmp_path / "out")))
    assert names(tmp_path / "out") == set()


def test_ray_is_asked_for_when_it_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        MissingExtraError, match=r"The package ray\[data\] is not installed\. It is needed to upscale on a cluster.*pip install"
    ):
        list(cluster.upscale_on_ray(network(), jobs_for(draw(tmp_path / "in", 1), tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def test_no_cluster_answers(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[data]'")
    draw(tmp_path / "in", 1)
    assert command(tmp_path, "127.0.0.1:1").wait(60) == 8
    assert "No Ray cluster could be joined at '127.0.0.1:1'" in (tmp_path / "err").read_text()


def test_rays_client_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[data]'")
    draw(tmp_path / "in", 1)
    assert command(tmp_path, "ray://127.0.0.1:10001").wait(60) == 8
    assert "but the address is 'ray://127.0.0.1:10001'. Run the command on a machine of the cluster" in (tmp_path / "err").read_text()


@pytest.mark.parametrize("way", ["address", "environment"])
def test_the_command_line_joins_a_cluster_that_is_there(machines: Any, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = draw(tmp_path / "in", 4)
    if way == "environment":
        monkeypatch.setenv("RAY_ADDRESS", machines.address)
    before = len(machines_jobs())
    assert command(tmp_path, machines.address if way == "address" else "auto").wait(60) == 0, (tmp_path / "err").read_text()
    assert names(tmp_path / "out") == {source.name for source in sources}
    assert len(machines_jobs()) == before + 1


def machines_jobs() -> list[Any]:
    """All that have ever been connected to the cluster."""
    from ray._private.state import state

    return list(state.job_table())


def command(folder: Path, address: str) -> subprocess.Popen[bytes]:
    """The command line, on its way, in a session of its own as in a terminal."""
    with (folder / "out.txt").open("wb") as out, (folder / "err").open("wb") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "span_arch", "in", "out", "--model", "spanx2_ch48", "--ray", address],
            cwd=folder, stdout=out, stderr=err, start_new_session=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip


@pytest.mark.parametrize("number", [None, signal.SIGINT, signal.SIGTERM], ids=str)
def test_the_command_line_leaves_no_cluster_behind(number: signal.Signals | None, tmp_path: Path) -> None:
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
    told, err = (tmp_path / "out.txt").read_text(), (tmp_path / "err").read_text()
    psutil.wait_procs(started, timeout=20)
    assert not [one for one in started if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert not [name for name in names(tmp_path / "out") if not name.endswith(".png") or name.startswith(".")]
    if number is None:
        assert (code, err, told.splitlines()[0].split(" in ")[0]) == (0, "", "4 done"), err
        assert names(tmp_path / "out") == {source.name for source in sources}
    else:
        assert (code, err.splitlines()[0].split(";")[0]) == (130, "span-upscale: stopped"), err
