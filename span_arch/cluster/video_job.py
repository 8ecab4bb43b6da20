"""A video whose segments workers upscale. This process plans and joins them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from ..batch import Job, Outcome
from ..batch.job import check_target, failed
from ..models.build import Model
from ..video import Segment
from ..video.resumable import join_finished, mentioning_finished
from ..video.segment_store import SegmentStore, open_store
from .ray_worker import SegmentDone, SegmentFailed, SegmentTask


class VideoJob:
    """A video in segments. It reuses the segments that an earlier run has finished."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.sent = replace(job, source=job.source.absolute(), target=job.target.absolute())
        """The job as it is sent to workers, with absolute paths."""
        self._store: SegmentStore
        self._missing = set[int]()
        self._error: Exception | None = None
        self._lock = ExitStack()

    def begin(self, model: Model, plan: Callable[[], list[Segment]]) -> None:
        """Create or reopen the folder of the segments, and lock it until `close`.

        Raises:
            SpanArchError: the video cannot be upscaled (see `upscale_video_resumably`).
        """
        job = self.sent
        check_target(job)
        self._store = self._lock.enter_context(
            open_store(model, job.source, job.target, job.settings, job.video_settings, plan, overwrite=job.overwrite)
        )
        self._missing = {segment.index for segment in self._store.missing}

    @property
    def tasks(self) -> list[SegmentTask]:
        """The segments that are left to upscale."""
        return [SegmentTask(self.sent, segment, self._store.part(segment)) for segment in self._store.missing]

    @property
    def is_ready(self) -> bool:
        """True if all segments have succeeded or failed."""
        return not self._missing

    def take(self, result: SegmentDone | SegmentFailed) -> None:
        """Record the result of a segment. After a failure, the other segments go on and are kept for the next run."""
        self._missing.discard(result.segment.index)
        try:
            if isinstance(result, SegmentFailed):
                raise result.error
            self._store.finish(result.segment, result.report, result.video)
        except Exception as error:
            self._error = self._error or error

    def finish(self) -> Outcome:
        """Join the segments, unless one has failed, and return the outcome."""
        try:
            if self._error is not None:
                with mentioning_finished(self._store):
                    raise self._error
            job = self.sent
            report, video = join_finished(self._store, job.source, overwrite=job.overwrite)
        except Exception as error:
            return failed(self._job, error)
        finally:
            self.close()
        return Outcome(self._job, "done", frames=video.frames, source_size=report.source, result_size=report.result, video=video)

    def close(self) -> None:
        """Unlock the folder."""
        self._lock.close()
