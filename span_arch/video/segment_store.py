"""The folder of a video that is upscaled in segments. It outlives an interrupted run."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from .._util.extras import require_extra
from .._util.files import check_output, move, replacing
from ..engine.report import Method, Recovered, Report
from ..engine.settings import Settings
from ..errors import OptionError, OutputError
from ..models.build import Model
from .codecs import VideoSettings, encoders
from .concat import check_alike, join_segments
from .fingerprint import Fingerprint, differences, digest_of, fingerprint_of
from .source import Source, opened
from .video_report import Note, VideoReport
from .window import Segment

_FORMAT = 2
"""The version of the manifest. Other versions are not read."""

_MANIFEST, _LOCK, _OWNER = "manifest.json", "lock", "owner.txt"


@dataclass(frozen=True)
class Finished:
    """A finished segment."""

    sha256: str
    """The digest of its file."""
    report: Report | None
    """None if no frame could be decoded."""
    video: VideoReport


class SegmentStore:
    """The locked folder of a target's segments, with a manifest of the finished ones. `open_store` makes one.

    Methods raise OutputError if the folder cannot be written to.
    """

    def __init__(self, target: Path, fingerprint: Fingerprint, segments: list[Segment], finished: dict[int, Finished]) -> None:
        self.path, self.segments, self.finished = _folder_of(target), segments, finished
        self.fingerprint, self._target = fingerprint, target

    def part(self, segment: Segment) -> Path:
        """Return the file of a segment."""
        return self.path / f"{segment.index:05}{self._target.suffix}"

    @property
    def missing(self) -> list[Segment]:
        """The segments that are not finished."""
        return [segment for segment in self.segments if segment.index not in self.finished]

    def finish(self, segment: Segment, report: Report | None, video: VideoReport) -> None:
        """Record that the file of a segment is finished. Raise VideoError if it does not match the finished ones."""
        with_frames = (one for one in self.segments if one.index in self.finished and self.finished[one.index].video.frames)
        if video.frames:
            check_alike([self.part(next(with_frames, segment)), self.part(segment)])
        self.finished[segment.index] = Finished(digest_of(self.part(segment)), report, video)
        self.save()

    def save(self) -> None:
        """Write the manifest."""
        manifest = {
            "format": _FORMAT,
            "fingerprint": self.fingerprint,
            "segments": [asdict(segment) for segment in self.segments],
            "finished": {index: asdict(one) for index, one in sorted(self.finished.items())},
        }
        with replacing(self.path / _MANIFEST, overwrite=True, durable=True) as temporary:
            temporary.write_text(json.dumps(manifest, indent=1), encoding="utf-8")

    def join(self, source: Source, *, start: float, duration: float, overwrite: bool) -> tuple[Note, ...]:
        """Join all segments to the target, and clear the folder. Arguments, result and errors are as in `join_segments`."""
        whole, parts = self.path / f"whole{self._target.suffix}", [self.part(segment) for segment in self.segments]
        left_out = join_segments(source, parts, whole, start=start, duration=duration, overwrite=True)
        check_output(self._target, overwrite=overwrite)
        move(whole, self._target)
        self.clear()
        return left_out

    def clear(self) -> None:
        """Delete the manifest and the segments. Files of others stay, and so does the folder then."""
        (self.path / _MANIFEST).unlink(missing_ok=True)  # first, so that it never lists files that are gone
        for part in self.path.glob(f"[0-9]*{self._target.suffix}"):
            part.unlink(missing_ok=True)
        _delete_leftovers(self._target)


@contextmanager
def open_store(
    model: Model,
    source: Source,
    target: Path,
    settings: Settings,
    video: VideoSettings,
    plan: Callable[[], list[Segment]],
    *,
    start: float = 0,
    duration: float = 0,
    overwrite: bool = False,
) -> Generator[SegmentStore]:
    """Open the store of a target until the end of the block, with the finished segments of an earlier run.

    Segments with damaged files count as missing. The operating system locks the store against other processes and threads. The folder
    is deleted if it is empty in the end. ``plan`` returns the segments for a new store. The other arguments, and the errors, are as in
    `upscale_video_resumably`.
    """
    encoders(target, video)
    check_output(target, overwrite=overwrite)
    with opened(source):  # a file that is not a video gets no folder
        fingerprint = fingerprint_of(model, source, settings, video, start=start, duration=duration)
    with _locked(_folder_of(target)):
        check_output(target, overwrite=overwrite)  # the previous owner may have written it
        _delete_leftovers(target)
        store = _read(target)
        if store is None:
            store = SegmentStore(target, fingerprint, plan(), {})
            store.save()
        elif changes := differences(store.fingerprint, fingerprint):
            raise OptionError(
                f"{store.path} holds segments of a different run: {'; '.join(changes)}. Use the same source, model and settings to "
                "continue, or delete the folder to start over."
            )
        intact = {index: one for index, one in store.finished.items() if digest_of(store.part(store.segments[index])) == one.sha256}
        yield SegmentStore(target, fingerprint, store.segments, intact)


def _folder_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.segments")


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    """Create a folder and lock it. The lock ends with the process."""
    filelock = require_extra("filelock", "to upscale videos in segments")
    lock, owner = filelock.FileLock(folder / _LOCK, timeout=0), folder / _OWNER
    try:
        folder.mkdir(exist_ok=True)
        lock.acquire()
    except filelock.Timeout as error:
        name = "another process"
        with suppress(OSError):
            name = owner.read_text(encoding="utf-8")
        raise OutputError(f"{folder} is in use by {name}. Wait until it ends, stop it, or choose another target.") from error
    except OSError as error:
        raise OutputError(f"{folder} cannot be written to: {error.strerror or error}. Choose another target.") from error
    try:
        with suppress(OSError):  # on a full disk; the name is only for messages
            owner.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        yield
    finally:
        is_empty = {path.name for path in folder.iterdir()} <= {_LOCK, _OWNER}
        if is_empty:
            _delete(folder)
        lock.release()
        if is_empty:
            _delete(folder)  # again, because Windows cannot delete the lock while it is open


def _delete(folder: Path) -> None:
    with suppress(OSError):
        for name in (_OWNER, _LOCK):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


def _delete_leftovers(target: Path) -> None:
    """Delete the temporary files of killed processes."""
    for suffix in (target.suffix, Path(_MANIFEST).suffix):
        for leftover in _folder_of(target).glob(f".*{suffix}"):
            leftover.unlink(missing_ok=True)


def _read(target: Path) -> SegmentStore | None:
    """Return the store that the manifest describes; None if there is none that can be read."""
    try:
        manifest = json.loads((_folder_of(target) / _MANIFEST).read_bytes())
        segments = [Segment(**segment) for segment in manifest["segments"]]
        finished = {int(index): _finished_from(entry) for index, entry in manifest["finished"].items()}
        is_known = manifest["format"] == _FORMAT and set(finished) <= set(range(len(segments)))
        return SegmentStore(target, manifest["fingerprint"], segments, finished) if is_known else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _finished_from(entry: Mapping[str, Any]) -> Finished:
    values = _with_tuples(entry)
    report, video = values["report"], values["video"]
    if report is not None:
        report["method"], report["recovered"] = Method(**report["method"]), Recovered(**report["recovered"])
    video["notes"] = tuple(Note(**note) for note in video["notes"])
    return Finished(values["sha256"], None if report is None else Report(**report), VideoReport(**video))


def _with_tuples(value: Any) -> Any:
    """Return JSON data with tuples in place of lists, recursively."""
    if isinstance(value, dict):
        return {name: _with_tuples(one) for name, one in cast("dict[str, Any]", value).items()}
    return tuple(_with_tuples(one) for one in cast("list[Any]", value)) if isinstance(value, list) else value
