"""Pictures, one after the other: read ahead and written behind in threads, while the network computes.

Between the threads are short queues, so that memory does not grow with the number of pictures or of their frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue

import torch
from torch import Tensor

from .._util.channel import Channel
from .._util.threads import helpers
from ..engine.report import Reporter
from ..errors import SpanArchError
from ..image_files import Animation, Frame, ImageInfo, check_fits, check_format, read_images, write_images
from ..image_ops.sizes import Pair, route
from ..models.build import Model
from ..upscale import upscale_frames
from .inspect_inputs import result_channels
from .job import Job, Outcome, Progress, check_target, failed

_READ_AHEAD = 2
_WRITE_BEHIND = 1  # results are large


@dataclass(eq=False)
class _Picture:
    """One on its way."""

    job: Job
    info: ImageInfo
    count: int
    """Of its frames."""
    before: Pair
    after: Pair
    results: Channel[Frame] = field(default_factory=lambda: Channel[Frame](_WRITE_BEHIND))
    """On their way from the network to the file."""
    begun: bool = False
    """Whether somebody writes it, who then tells what became of it."""
    error: Exception | None = None
    """What it failed with; nothing more is done for it then."""

    def fail(self, error: Exception) -> None:
        """Nothing more comes of it; its file, if it is begun, is given up."""
        self.error = error
        self.results.fail(error)


@dataclass(frozen=True)
class _Read:
    """A frame that was read."""

    picture: _Picture
    frame: Frame
    last: bool


@dataclass(frozen=True)
class _Broken:
    """A picture that goes no further than here."""

    picture: _Picture
    error: Exception


_Item = _Read | _Broken | Outcome


def upscale_images(
    model: Model,
    jobs: Sequence[Job],
    *,
    device: torch.device | str | None = None,
    room: Callable[[int], int] | None = None,
    progress: Progress | None = None,
    report: Reporter | None = None,
) -> Iterator[Outcome]:
    """Does jobs, all of pictures and with the same settings, in one stream through the network.

    Arguments and outcomes are as in `upscale_jobs`.
    """
    read, writing, outcomes = Channel[_Item](_READ_AHEAD), Channel[_Picture](_WRITE_BEHIND), SimpleQueue[Outcome]()
    run = partial(upscale_frames, model, settings=jobs[0].settings, device=device, room=room, report=report)
    current: _Picture | None = None
    told = 0
    with helpers(2) as pool:
        try:
            pool.submit(_read_all, model, jobs, read)
            pool.submit(_write_all, writing, outcomes)
            for item, result in _Stream(run, iter(read), outcomes, progress):
                current = item.picture
                _hand_over(item, result, writing)
                for outcome in _there(outcomes):
                    told += 1
                    yield outcome
            writing.finish()
            for _ in range(len(jobs) - told):
                yield outcomes.get()
        except BaseException as error:
            for channel in (read, writing, *([current.results] if current is not None else [])):
                channel.fail(error)
            raise


class _Stream:
    """Frames through the network in one stream, which is begun anew behind a frame that ends it.

    Args:
        run: upscales frames as they come; takes ``progress``.
        items: what was read.
        outcomes: takes those of pictures that nobody writes.
        progress: as in `upscale_jobs`.
    """

    def __init__(
        self,
        run: Callable[..., Iterator[Tensor]],
        items: Iterator[_Item],
        outcomes: SimpleQueue[Outcome],
        progress: Progress | None,
    ) -> None:
        self._run, self._items, self._outcomes = run, items, outcomes
        self._tally = None if progress is None else _Tally(progress)
        self._inside: deque[_Read] = deque()
        """Frames that the network has not given back yet."""

    def __iter__(self) -> Iterator[tuple[_Read, Tensor]]:
        """Each frame and its result, of pictures that have not failed."""
        while True:
            try:
                yield from self._upscaled(self._frames())
                return
            except SpanArchError as error:
                failing = list(self._inside)
                if len(failing) == 1:
                    self._fail(failing[0].picture, error)
                else:
                    yield from self._alone(failing)

    def _upscaled(self, items: Iterable[_Read]) -> Iterator[tuple[_Read, Tensor]]:
        self._inside.clear()
        for result in self._run(self._taken(items), progress=self._tally):
            item = self._inside.popleft()
            if self._tally is not None and item.last:
                self._tally.end(item.picture)
            yield item, result

    def _taken(self, items: Iterable[_Read]) -> Iterator[Tensor]:
        for item in items:
            self._inside.append(item)
            if self._tally is not None:
                self._tally.take(item.picture)
            yield item.frame.image[0]

    def _frames(self) -> Iterator[_Read]:
        for item in self._items:
            if isinstance(item, Outcome):
                self._outcomes.put(item)
            elif isinstance(item, _Broken):
                self._fail(item.picture, item.error)
            elif item.picture.error is None:
                yield item

    def _alone(self, items: Iterable[_Read]) -> Iterator[tuple[_Read, Tensor]]:
        """Tries frames one by one that failed together, as they do on a GPU."""
        for item in items:
            try:
                if item.picture.error is None:
                    yield from self._upscaled([item])
            except SpanArchError as error:
                self._fail(item.picture, error)

    def _fail(self, picture: _Picture, error: Exception) -> None:
        picture.fail(error)
        if not picture.begun:
            self._outcomes.put(failed(picture.job, error))


class _Tally:
    """Tells how far a picture is, by what a stream tells of itself."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._picture: _Picture | None = None
        self._taken = self._whole = 0
        self._before: int | None = None

    def take(self, picture: _Picture) -> None:
        """Another frame is on its way into the stream."""
        if picture is not self._picture:
            self._picture, self._taken, self._whole, self._before = picture, 0, 0, None
        self._taken += 1

    def end(self, picture: _Picture) -> None:
        """The last result of a picture is there, of which the stream itself tells only by the way."""
        if picture is self._picture:
            self._progress(picture.job, self._whole, self._whole)
            self._picture = None

    def __call__(self, done: int, total: int) -> None:
        if self._picture is None:
            return
        if self._before is None:
            self._before = done
        self._whole = (total - self._before) * self._picture.count // self._taken  # the stream knows of those that it has taken
        self._progress(self._picture.job, done - self._before, self._whole)


def _hand_over(item: _Read, result: Tensor, writing: Channel[_Picture]) -> None:
    picture = item.picture
    if picture.error is not None:
        return
    if not picture.begun:
        picture.begun = True
        writing.put(picture)
    try:
        picture.results.put(Frame(result[None], item.frame.duration))
    except Exception as error:  # its file cannot be written
        picture.error = error
    if item.last:
        picture.results.finish()


def _there(outcomes: SimpleQueue[Outcome]) -> Iterator[Outcome]:
    """Those that need not be waited for."""
    while True:
        try:
            yield outcomes.get_nowait()
        except Empty:
            return


def _read_all(model: Model, jobs: Iterable[Job], read: Channel[_Item]) -> None:
    try:
        for job in jobs:
            for item in _read(model, job):
                read.put(item)
    except BaseException as error:
        read.finish(error)
    else:
        read.finish()


def _read(model: Model, job: Job) -> Iterator[_Item]:
    """The frames of a job's picture; or how it ends without."""
    picture: _Picture | None = None
    try:
        if job.is_skipped:
            yield Outcome(job, "skipped")
            return
        check_format(job.target)
        check_target(job)
        animation = read_images(job.source)
        frames = iter(animation.frames)
        frame = next(frames, None)
        while frame is not None:
            picture = picture or _begun(model, job, animation, frame)
            following = next(frames, None)
            yield _Read(picture, frame, last=following is None)
            frame = following
    except Exception as error:
        yield failed(job, error) if picture is None else _Broken(picture, error)


def _begun(model: Model, job: Job, animation: Animation, frame: Frame) -> _Picture:
    """A picture whose first frame is there, and whose result goes into its file, as far as that can be known."""
    _, height, width, channels = frame.image.shape
    after = route(job.settings.size, height, width, model.scale).size
    check_fits(job.target, width=after[1], height=after[0], channels=result_channels(model, job.settings, channels), frames=animation.count)
    return _Picture(job, animation.info, animation.count, (height, width), after)


def _write_all(writing: Channel[_Picture], outcomes: SimpleQueue[Outcome]) -> None:
    for picture in writing:
        outcomes.put(_write(picture))


def _write(picture: _Picture) -> Outcome:
    job, animation = picture.job, Animation(picture.results, picture.info, picture.count)
    try:
        write_images(job.target, animation, quality=job.quality, overwrite=job.existing == "replace")
    except Exception as error:
        picture.results.fail(error)  # nobody waits to hand over more
        return failed(job, picture.error or error)
    return Outcome(job, "done", frames=picture.count, before=picture.before, after=picture.after)
