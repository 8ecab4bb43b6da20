"""Jobs, done by as many workers as a cluster has room for."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from ..batch import Job, Outcome
from ..batch.job import failed
from ..errors import ClusterError, DiskFullError, SpanArchError
from ..models.build import FamilyModel
from ..video import plan_segments
from ..video.segments import FRAMES
from .session import AUTO, session
from .staging import Staging
from .video_job import Film
from .worker import Part, PartDone, PartFailed, Pictures, Result, Weights, Work, Worker, row_of, thing_of

_CPUS = 4
"""Of a worker without a GPU, at most: several processes make more of many processors than one does."""
_PICTURES = 8
"""That are sent together, at most: so many are done again if a worker dies, and the way to it and back is made once for all of them."""
_ROUNDS = 4
"""How often each worker gets something, at least, if there are pictures enough: so that all end at about the same time."""


def upscale_on_ray(model: FamilyModel, jobs: Iterable[Job], *, address: str = AUTO, segment_frames: int = FRAMES) -> Generator[Outcome]:
    """Upscales files to files as `upscale_jobs` does, on a cluster of Ray.

    Pictures are sent by the handful, videos in segments of some seconds, which are joined here. A worker has a GPU to itself; in a
    cluster without any, up to four processors. Work that is lost with a process or with a machine is done again. Targets appear whole, and
    once. Segments that are finished when a run is ended, or fails, are not made again by the next one.

    All machines see sources and targets under the same absolute paths, and have the same versions of this library, of Ray and of Python.
    The model need not be there; it is sent.

    Args:
        model: what to upscale with.
        jobs: what to do.
        address: of the cluster, such as ``head:6379``. ``"auto"`` is the one that RAY_ADDRESS names or that runs on this machine; if there
            is none, one is started here and ended again. ``"local"`` always does that. If this process is connected to a cluster already,
            the work is done there.
        segment_frames: how many frames a segment of a video has. Those of an earlier run are kept.

    Yields:
        What became of each job, as soon as that is known, in any order. When the disk is full, the outcome that says so is the last.

    Raises:
        MissingExtraError: Ray is not installed.
        ClusterError: no cluster can be joined, only through Ray's client (``ray://``), or it gives up.
    """
    with ExitStack() as stack:
        staging = Staging()
        stack.callback(staging.clear)  # once no worker is left
        ray = stack.enter_context(session(address))
        with closing(_Run(ray, model, staging, segment_frames).outcomes(list(jobs))) as outcomes:
            for outcome in outcomes:
                yield outcome
                if isinstance(outcome.error, DiskFullError):
                    return


class _Run:
    def __init__(self, ray: Any, model: FamilyModel, staging: Staging, segment_frames: int) -> None:
        self._ray, self._model, self._staging, self._frames = ray, model, staging, segment_frames
        self._films: dict[Path, Film] = {}
        """By their targets."""

    def outcomes(self, jobs: Sequence[Job]) -> Generator[Outcome]:
        """What becomes of them."""
        left: list[Job] = []
        for job in jobs:
            if job.is_skipped:
                yield Outcome(job, "skipped")
            else:
                left.append(job)
        parts: list[Part] = []
        staged: list[Job] = []
        try:
            yield from self._begin_films([job for job in left if job.is_video], parts)
            yield from self._begin_pictures([job for job in left if not job.is_video], staged)
            with closing(self._results(parts, staged)) as results:
                for result in results:
                    yield from self._take(result)
        finally:
            for film in self._films.values():
                film.close()

    def _begin_pictures(self, jobs: Sequence[Job], staged: list[Job]) -> Iterator[Outcome]:
        for job in jobs:
            try:
                staged.append(self._staging.add(job))
            except SpanArchError as error:
                yield failed(job, error)

    def _begin_films(self, jobs: Sequence[Job], parts: list[Part]) -> Iterator[Outcome]:
        """Films are read to their ends when they are planned; so the cluster does that as well, all at a time."""
        plan = self._ray.remote(num_cpus=1, max_retries=-1)(plan_segments)
        films = [(job, Film(job)) for job in jobs]
        plans = [plan.remote(film.sent.source, self._frames) for _, film in films]
        for (job, film), planned in zip(films, plans, strict=True):
            try:
                film.begin(self._model, lambda planned=planned: self._get(planned))
            except Exception as error:
                film.close()
                yield failed(job, error)
                continue
            self._films[film.sent.target] = film
            parts.extend(film.parts)
            if film.is_ready:
                yield film.finish()

    def _get(self, planned: Any) -> Any:
        try:
            return self._ray.get(planned)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error

    def _take(self, result: Result) -> Iterator[Outcome]:
        if isinstance(result, (PartDone, PartFailed)):
            film = self._films[result.job.target]
            film.take(result)
            if film.is_ready:
                yield film.finish()
        else:
            yield self._staging.take(result)

    def _results(self, parts: Sequence[Part], pictures: Sequence[Job]) -> Generator[Result]:
        """What workers send back, as it comes. Videos go first, since their parts take longest."""
        resources, workers = _resources(self._ray)
        count = max(1, min(_PICTURES, len(pictures) // (_ROUNDS * workers)))
        work: list[Work] = [*parts, *(Pictures(tuple(pictures[at : at + count])) for at in range(0, len(pictures), count))]
        if not work:
            return
        data = self._ray.data
        threads = int(resources.get("num_cpus", _CPUS))
        rows = data.from_items([row_of(one) for one in work], override_num_blocks=len(work)).map(
            Worker,
            fn_constructor_args=(Weights.of(self._model), threads),
            compute=data.ActorPoolStrategy(min_size=1, max_tasks_in_flight_per_actor=2),  # and as many as there is room for
            **resources,
        )  # without other options, a worker that died is started again, and what it had to do is done again, both without end
        arrived = 0
        try:
            with closing(iter(rows.iter_batches(batch_size=None, prefetch_batches=0))) as batches:
                while arrived < len(
                    work
                ):  # not to the end: Ray may end in an error there, since workers that nobody needs were never started
                    pickles = next(batches)["pickle"]
                    arrived += len(pickles)
                    for pickled in pickles:
                        yield from thing_of({"pickle": pickled})
        except self._ray.exceptions.RayError as error:
            raise ClusterError(
                f"Ray gave up: {_told(error)} What is done is kept. See that all machines have the same versions of Python, of Ray and of "
                "span-upscale, and run it again."
            ) from error


def _resources(ray: Any) -> tuple[dict[str, float], int]:
    """What a worker asks for, and how many of them there is room for now."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if gpus := sum(int(node.get("GPU", 0)) for node in nodes):
        return {"num_gpus": 1}, gpus
    cpus = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1] or [1]
    each = min(_CPUS, *cpus)
    return {"num_cpus": each}, sum(one // each for one in cpus)


def _told(error: Exception) -> str:
    """What Ray says last, which is the cause; before it come the places where it was seen."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{(lines or [type(error).__name__])[-1].rstrip('.')}."
