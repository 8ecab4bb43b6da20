"""Upscale images one after the other, while helper threads read the next ones and write the last ones.

Short queues connect the threads, so memory does not grow with the number of images or of their frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
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
from ..upscaling import upscale_frames
from .inspect_inputs import result_channels
from .job import Job, Outcome, check_target, failed

_READ_AHEAD = 2
_WRITE_BEHIND = 1  # results are large


@dataclass(eq=False)
class _ImageRun:
    """An image on its way from its source to its target."""

    job: Job
    info: ImageInfo
    frames: int
    source_size: Pair
    result_size: Pair
    results: Channel[AnimationFrame] = field(default_factory=lambda: Channel[AnimationFrame](_WRITE_BEHIND))
    """Frames on their way from the network to the writer."""
    has_writer: bool = False
    """True once the writer has the image and will report its outcome."""
    error: Exception | None = None
    """The reason why the image failed. Its remaining frames are dropped."""

    def fail(self, error: Exception) -> None:
        """Drop the remaining frames, and make the writer give up the file."""
        self.error = error
        self.results.fail(error)


@dataclass(frozen=True)
class _InputFrame:
    """A frame that the reader has read."""

    image: _ImageRun
    frame: AnimationFrame
    index: int
    is_last: bool


@dataclass(frozen=True)
class _Broken:
    """An image that could not be read to its end."""

    image: _ImageRun
    error: Exception


_Item = _InputFrame | _Broken | Outcome


def upscale_images(
    model: Model,
    jobs: Sequence[Job],
    context: Context | None = None,
    *,
    read: Callable[..., Animation] = read_images,
    upscale: Callable[..., Iterator[Tensor]] = upscale_frames,
    write: Callable[..., None] = write_images,
) -> Iterator[Outcome]:
    """Run jobs that are all of images and share their settings, in one stream through the network (see `upscale_jobs`)."""
    items, writing, outcomes = Channel[_Item](_READ_AHEAD), Channel[_ImageRun](_WRITE_BEHIND), SimpleQueue[Outcome]()
    stream = _Stream(model, jobs[0], context or Context(), upscale, iter(items), outcomes)
    image: _ImageRun | None = None
    left = len(jobs)
    with helpers(2) as pool:
        try:
            pool.submit(_read_all, model, jobs, read, items)
            pool.submit(_write_all, writing, write, outcomes)
            for entry, result in stream:
                image = entry.image
                _pass_on(entry, result, writing)
                for outcome in _ready(outcomes):
                    left -= 1
                    yield outcome
            writing.finish()
            for _ in range(left):
                yield outcomes.get()
        except BaseException as error:
            for channel in (items, writing, *([] if image is None else [image.results])):
                channel.fail(error)
            raise


class _Stream:
    """Frames of images in one stream through the network. After a frame that ends the stream, a new one begins."""

    def __init__(
        self,
        model: Model,
        job: Job,
        context: Context,
        upscale: Callable[..., Iterator[Tensor]],
        items: Iterator[_Item],
        outcomes: SimpleQueue[Outcome],
    ) -> None:
        self._model, self._settings, self._upscale = model, job.settings, upscale
        self._items, self._outcomes = items, outcomes
        self._listener = context.progress
        self._context = context if context.progress is None else replace(context, progress=self._report)
        self._pending: deque[_InputFrame] = deque()
        """Frames that the network has taken and not given back."""
        self._given_back = 0
        """Frames that the present stream has given back."""
        self._reported: _ImageRun | None = None
        """The image of the last progress event, until its end is reported."""

    def __iter__(self) -> Iterator[tuple[_InputFrame, Tensor]]:
        """Yield each frame with its result, for images that have not failed."""
        while True:
            try:
                yield from self._upscaled(self._frames())
                return
            except SpanArchError as error:
                failing = list(self._pending)
                if len(failing) == 1:
                    self._fail(failing[0].image, error)
                else:
                    yield from self._one_by_one(failing)

    def _upscaled(self, entries: Iterable[_InputFrame]) -> Iterator[tuple[_InputFrame, Tensor]]:
        self._pending.clear()
        self._given_back = 0
        for result in self._upscale(self._model, self._taken(entries), self._settings, self._context):
            entry = self._pending.popleft()
            self._given_back += 1
            if entry.is_last and entry.image is self._reported:
                self._report_end()
            yield entry, result

    def _taken(self, entries: Iterable[_InputFrame]) -> Iterator[Tensor]:
        for entry in entries:
            self._pending.append(entry)
            yield entry.frame.image[0]

    def _frames(self) -> Iterator[_InputFrame]:
        for item in self._items:
            if isinstance(item, Outcome):
                self._outcomes.put(item)
            elif isinstance(item, _Broken):
                self._fail(item.image, item.error)
            elif item.image.error is None:
                yield item

    def _one_by_one(self, entries: Iterable[_InputFrame]) -> Iterator[tuple[_InputFrame, Tensor]]:
        """Retry frames that failed together, as they do on a GPU."""
        for entry in entries:
            try:
                if entry.image.error is None:
                    yield from self._upscaled([entry])
            except SpanArchError as error:
                self._fail(entry.image, error)

    def _fail(self, image: _ImageRun, error: Exception) -> None:
        image.fail(error)
        if not image.has_writer:
            self._outcomes.put(failed(image.job, error))

    def _report(self, event: Progress) -> None:
        """Report the progress of the stream as that of the image whose frame the network works on."""
        position = event.frame - self._given_back
        if self._listener is None or position >= len(self._pending):
            return
        entry = self._pending[position]
        if entry.image is not self._reported:
            self._report_end()
            self._reported = entry.image
        self._listener(replace(event, item=entry.image.job, frame=entry.index, frames=entry.image.frames))

    def _report_end(self) -> None:
        image, self._reported = self._reported, None
        if self._listener is not None and image is not None and image.error is None:
            self._listener(Progress(image.frames, 0.0, image.frames, image.job))


def _pass_on(entry: _InputFrame, result: Tensor, writing: Channel[_ImageRun]) -> None:
    """Pass a result on to the writer."""
    image = entry.image
    if image.error is not None:
        return
    if not image.has_writer:
        image.has_writer = True
        writing.put(image)
    try:
        image.results.put(AnimationFrame(result[None], entry.frame.duration))
    except Exception as error:  # the writer has failed
        image.error = error
    if entry.is_last:
        image.results.finish()


def _ready(outcomes: SimpleQueue[Outcome]) -> Iterator[Outcome]:
    """Yield the outcomes that are there, without waiting for more."""
    while True:
        try:
            yield outcomes.get_nowait()
        except Empty:
            return


def _read_all(model: Model, jobs: Iterable[Job], read: Callable[..., Animation], items: Channel[_Item]) -> None:
    try:
        for job in jobs:
            for item in _read(model, job, read):
                items.put(item)
    except BaseException as error:
        items.finish(error)
    else:
        items.finish()


def _read(model: Model, job: Job, read: Callable[..., Animation]) -> Iterator[_Item]:
    """Yield the frames of the source of a job, or the outcome of a job that has none."""
    image: _ImageRun | None = None
    try:
        if job.is_skipped:
            yield Outcome(job, "skipped")
            return
        check_format(job.target)
        check_target(job)
        animation = read(job.source)
        frames, index = iter(animation.frames), 0
        frame = next(frames, None)
        while frame is not None:
            image = image or _begin(model, job, animation, frame)
            following = next(frames, None)
            yield _InputFrame(image, frame, index, is_last=following is None)
            frame, index = following, index + 1
    except Exception as error:
        yield failed(job, error) if image is None else _Broken(image, error)


def _begin(model: Model, job: Job, animation: Animation, frame: AnimationFrame) -> _ImageRun:
    """Check that the target can hold the result, which the first frame shows, and begin the image."""
    _, height, width, channels = frame.image.shape
    size = route(job.settings.size, height, width, model.scale).size
    check_fits(job.target, width=size[1], height=size[0], channels=result_channels(model, job.settings, channels), frames=animation.count)
    return _ImageRun(job, animation.info, animation.count, (height, width), size)


def _write_all(writing: Channel[_ImageRun], write: Callable[..., None], outcomes: SimpleQueue[Outcome]) -> None:
    for image in writing:
        outcomes.put(_write(image, write))


def _write(image: _ImageRun, write: Callable[..., None]) -> Outcome:
    job, animation = image.job, Animation(image.results, image.info, image.frames)
    try:
        write(job.target, animation, quality=job.quality, overwrite=job.overwrite)
    except Exception as error:
        image.results.fail(error)  # no further results are read
        return failed(job, image.error or error)
    return Outcome(job, "done", frames=image.frames, source_size=image.source_size, result_size=image.result_size)
