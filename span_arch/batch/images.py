"""Pictures, one after the other: read ahead and written behind in threads, while the network computes.

Between the threads are short queues, so that memory does not grow with the number of pictures or of their frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from queue import Empty, SimpleQueue

from torch import Tensor

from .._util.channel import Channel
from .._util.threads import helpers
from ..engine.context import Context
from ..engine.progress import Progress
from ..errors import SpanArchError
from ..image_files import Animation, AnimationFrame, ImageInfo, check_fits, check_format, read_images, write_images
from ..image_ops.sizes import Pair, route
from ..models.build import Model
from ..upscale import upscale_frames
from .inspect_inputs import result_channels
from .job import Job, Outcome, check_target, failed

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
    results: Channel[AnimationFrame] = field(default_factory=lambda: Channel[AnimationFrame](_WRITE_BEHIND))
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
    frame: AnimationFrame
    index: int
    """Its place among the frames of the picture."""
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
    context: Context,
) -> Iterator[Outcome]:
    """Does jobs, all of pictures and with the same settings, in one stream through the network.

    Arguments and outcomes are as in `upscale_jobs`.
    """
    read, writing, outcomes = Channel[_Item](_READ_AHEAD), Channel[_Picture](_WRITE_BEHIND), SimpleQueue[Outcome]()
    run = partial(upscale_frames, model, settings=jobs[0].settings)
    current: _Picture | None = None
    told = 0
    with helpers(2) as pool:
        try:
            pool.submit(_read_all, model, jobs, read)
            pool.submit(_write_all, writing, outcomes)
            for item, result in _Stream(run, iter(read), outcomes, context):
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
        run: upscales frames as they come; takes ``context``.
        items: what was read.
        outcomes: takes those of pictures that nobody writes.
        context: as in `upscale_jobs`.
    """

    def __init__(
        self,
        run: Callable[..., Iterator[Tensor]],
        items: Iterator[_Item],
        outcomes: SimpleQueue[Outcome],
        context: Context,
    ) -> None:
        self._run, self._items, self._outcomes = run, items, outcomes
        self._listener = context.progress
        self._context = replace(context, progress=None if context.progress is None else self._listen)
        self._inside: deque[_Read] = deque()
        """Frames that the network has not returned yet."""
        self._returned = 0
        """Frames that it has returned since the stream began."""

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
        self._returned = 0
        for result in self._run(self._taken(items), context=self._context):
            item = self._inside.popleft()
            self._returned += 1
            if self._listener is not None and item.last:
                self._listener(Progress(item.picture.count, 0, item.picture.count, item.picture.job))
            yield item, result

    def _taken(self, items: Iterable[_Read]) -> Iterator[Tensor]:
        for item in items:
            self._inside.append(item)
            yield item.frame.image[0]

    def _listen(self, progress: Progress) -> None:
        """Report the progress of the stream as that of the image that the frame in work belongs to."""
        place = progress.frame - self._returned
        if self._listener is not None and place < len(self._inside):
            item = self._inside[place]
            self._listener(replace(progress, item=item.picture.job, frame=item.index, frames=item.picture.count))

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


def _hand_over(item: _Read, result: Tensor, writing: Channel[_Picture]) -> None:
    picture = item.picture
    if picture.error is not None:
        return
    if not picture.begun:
        picture.begun = True
        writing.put(picture)
    try:
        picture.results.put(AnimationFrame(result[None], item.frame.duration))
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
        frame, index = next(frames, None), 0
        while frame is not None:
            picture = picture or _begun(model, job, animation, frame)
            following = next(frames, None)
            yield _Read(picture, frame, index, last=following is None)
            frame, index = following, index + 1
    except Exception as error:
        yield failed(job, error) if picture is None else _Broken(picture, error)


def _begun(model: Model, job: Job, animation: Animation, frame: AnimationFrame) -> _Picture:
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
