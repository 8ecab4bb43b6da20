"""Distribute jobs to the workers of a cluster."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ..batch import Job, Outcome
from ..batch.job import failed, until_disk_full
from ..errors import ClusterError, SpanArchError
from ..models.build import Model
from ..video import plan_segments
from ..video.segments import FRAMES
from .ray_connection import AUTO, ray_session
from .ray_worker import ImageBatch, Result, SegmentDone, SegmentFailed, SegmentTask, Weights, Work, Worker, from_row, to_row
from .staging import Staging
from .video_job import VideoJob

_MOST_CPUS = 4
"""CPUs of a worker without a GPU. Several small processes use many CPUs better than one large process."""
_MOST_IMAGES = 8
"""Images in a batch. A batch saves transfers, but is repeated as a whole if its worker dies."""
_FEWEST_BATCHES = 4
"""Batches for each worker, if there are enough images, so that all workers end at about the same time."""


def upscale_on_ray(model: Model, jobs: Iterable[Job], *, address: str = AUTO, segment_frames: int = FRAMES) -> Generator[Outcome]:
    """Upscale files to files as `upscale_jobs` does, on a Ray cluster.

    Workers receive images in small batches and videos in segments of some seconds, which this process joins. Each worker has a GPU of its
    own or, in a cluster without GPUs, up to four CPUs. Work that is lost with a process or a machine is repeated. Each target is written
    completely and once. After an interruption or an error, the next run reuses finished segments.

    All machines must see sources and targets under the same absolute paths, and have the same versions of this library, Ray and Python.
    The model is sent to them.

    Args:
        model: as in `upscale_jobs`.
        jobs: the files to upscale.
        address: the address of the cluster, such as ``head:6379``. ``"auto"`` joins the cluster that RAY_ADDRESS names or that runs on this
            machine, and otherwise starts one for this run. ``"local"`` always starts one. A process that is connected to a cluster
            already uses that one.
        segment_frames: the number of frames of a segment. Segments of an earlier run keep theirs.

    Yields:
        The outcome of each job as soon as it is known, in any order. After the first outcome that says the disk is full, the run ends.

    Raises:
        MissingExtraError: Ray is not installed.
        ClusterError: the cluster cannot be joined, gives up, or is reached through Ray's client (``ray://``).
    """
    with Staging() as staging, ray_session(address) as ray:  # the session ends first, so no worker is left when the files are deleted
        yield from Dispatcher(ray, model, staging, segment_frames).run(list(jobs))


class Dispatcher:
    """A run of jobs on a connected cluster."""

    def __init__(self, ray: Any, model: Model, staging: Staging, segment_frames: int = FRAMES, weights: Weights | None = None) -> None:
        self._ray, self._model, self._staging, self._segment_frames, self._weights = ray, model, staging, segment_frames, weights
        self._videos: dict[Path, VideoJob] = {}
        """The videos in work, by their targets."""

    def run(self, jobs: Sequence[Job]) -> Generator[Outcome]:
        """Yield the outcomes of jobs (see `upscale_on_ray`)."""
        return until_disk_full(self._run(jobs))

    def _run(self, jobs: Sequence[Job]) -> Generator[Outcome]:
        yield from (Outcome(job, "skipped") for job in jobs if job.is_skipped)
        jobs = [job for job in jobs if not job.is_skipped]
        try:
            tasks = yield from self._begin_videos([job for job in jobs if job.is_video])
            images = yield from self._stage_images([job for job in jobs if not job.is_video])
            with closing(self._results(tasks, images)) as results:
                for result in results:
                    yield from self._take(result)
        finally:
            for video in self._videos.values():
                video.close()

    def _stage_images(self, jobs: Sequence[Job]) -> Generator[Outcome, None, list[Job]]:
        staged: list[Job] = []
        for job in jobs:
            try:
                staged.append(self._staging.add(job))
            except SpanArchError as error:
                yield failed(job, error)
        return staged

    def _begin_videos(self, jobs: Sequence[Job]) -> Generator[Outcome, None, list[SegmentTask]]:
        """Begin all videos, and return the segments that are left. Planning reads a video to its end, so workers do it in parallel."""
        plan = self._ray.remote(num_cpus=1, max_retries=-1)(plan_segments)
        videos = [(job, VideoJob(job)) for job in jobs]
        plans = [plan.remote(video.sent.source, self._segment_frames) for _, video in videos]
        tasks: list[SegmentTask] = []
        for (job, video), planned in zip(videos, plans, strict=True):
            try:
                video.begin(self._model, lambda planned=planned: self._get(planned))
            except Exception as error:
                video.close()
                yield failed(job, error)
                continue
            self._videos[video.sent.target] = video
            tasks.extend(video.tasks)
            if video.is_ready:
                yield video.finish()
        return tasks

    def _get(self, planned: Any) -> Any:
        try:
            return self._ray.get(planned)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error

    def _take(self, result: Result) -> Generator[Outcome]:
        if isinstance(result, (SegmentDone, SegmentFailed)):
            video = self._videos[result.job.target]
            video.take(result)
            if video.is_ready:
                yield video.finish()
        else:
            yield self._staging.take(result)

    def _results(self, tasks: Sequence[SegmentTask], images: Sequence[Job]) -> Generator[Result]:
        """Send work to workers and yield their results as they arrive. Segments go first, since they take longest."""
        resources, workers = _resources(self._ray)
        size = max(1, min(_MOST_IMAGES, len(images) // (_FEWEST_BATCHES * workers)))
        work: list[Work] = [*tasks, *(ImageBatch(tuple(images[at : at + size])) for at in range(0, len(images), size))]
        if not work:
            return
        data = self._ray.data
        # By default, Ray restarts workers that die and repeats their work without limit, and the pool grows to all free resources.
        rows = data.from_items([to_row(one) for one in work], override_num_blocks=len(work)).map(
            Worker,
            fn_constructor_args=(self._weights or Weights.of(self._model), int(resources.get("num_cpus", _MOST_CPUS))),
            compute=data.ActorPoolStrategy(min_size=1, max_tasks_in_flight_per_actor=2),
            **resources,
        )
        arrived = 0
        try:
            with closing(iter(rows.iter_batches(batch_size=None, prefetch_batches=0))) as batches:
                while arrived < len(work):  # at the very end, Ray may fail because of workers that it had not started yet
                    for pickled in next(batches)["pickle"]:
                        arrived += 1
                        yield from from_row({"pickle": pickled})
        except self._ray.exceptions.RayError as error:
            raise ClusterError(
                f"Ray gave up ({_last_line(error)}). Check that all machines have the same versions of Python, Ray and span-upscale, and "
                "run the command again. Finished files are kept."
            ) from error


def _resources(ray: Any) -> tuple[dict[str, float], int]:
    """Return the resources of a worker, and how many workers there is room for."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if gpus := sum(int(node.get("GPU", 0)) for node in nodes):
        return {"num_gpus": 1}, gpus
    cpus = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1] or [1]
    each = min(_MOST_CPUS, *cpus)
    return {"num_cpus": each}, sum(one // each for one in cpus)


def _last_line(error: Exception) -> str:
    """Return the last line of Ray's message, which is the cause. Stack traces come before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1].rstrip(".")
