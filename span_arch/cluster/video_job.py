"""A video whose segments others upscale; here is decided what is left to do, and they are joined."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from ..batch import Job, Outcome
from ..batch.job import check_target, failed
from ..models.build import FamilyModel
from ..video import Segment
from ..video.resumable import join_finished, mentioning_finished, resumed
from ..video.segment_store import SegmentStore
from .worker import Part, PartDone, PartFailed


class Film:
    """A video in segments, of which those are kept that an earlier run has finished.

    Args:
        job: of a video.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self.sent = replace(job, source=job.source.absolute(), target=job.target.absolute())
        """The same job, as it can be done anywhere."""
        self._folder: SegmentStore
        self._left = set[int]()
        self._error: Exception | None = None
        self._open = ExitStack()

    def begin(self, model: FamilyModel, plan: Callable[[], list[Segment]]) -> None:
        """Makes the folder of its segments, and keeps other runs out of it until the end.

        Raises:
            SpanArchError: as `upscale_video_resumably`, before it upscales anything.
        """
        job = self.sent
        check_target(job)
        self._folder = self._open.enter_context(
            resumed(model, job.source, job.target, job.settings, job.video_settings, plan, overwrite=job.existing == "replace")
        )
        self._left = {segment.index for segment in self._folder.missing}

    @property
    def parts(self) -> list[Part]:
        """The work that is left."""
        return [Part(self.sent, segment, self._folder.part(segment)) for segment in self._folder.missing]

    @property
    def is_ready(self) -> bool:
        """Whether nothing more is to be waited for."""
        return not self._left

    def take(self, result: PartDone | PartFailed) -> None:
        """Notes what became of a segment. A segment that fails does not keep the others from being done, and kept for the next time."""
        self._left.discard(result.segment.index)
        try:
            if isinstance(result, PartFailed):
                raise result.error
            self._folder.finish(result.segment, result.report, result.video)
        except Exception as error:
            self._error = self._error or error

    def finish(self) -> Outcome:
        """Joins the segments, unless one has failed."""
        try:
            if self._error is not None:
                with mentioning_finished(self._folder):
                    raise self._error
            job = self.sent
            report, video = join_finished(self._folder, job.source, job.target, overwrite=job.existing == "replace")
        except Exception as error:
            return failed(self._job, error)
        finally:
            self.close()
        return Outcome(self._job, "done", frames=video.frames, before=report.source, after=report.result, notes=video.sentences)

    def close(self) -> None:
        """Lets others in."""
        self._open.close()
