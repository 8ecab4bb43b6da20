"""A folder for a video that is upscaled in segments: which of them are finished, and what they are made of and with."""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, cast

from .._util.extras import require_extra
from .._util.files import check_output, move, replacing
from ..engine.report import Method, Recovered, Report
from ..engine.settings import Settings
from ..errors import OptionError, OutputError
from ..models.build import Model, adopt
from ..models.describe import describe
from .codecs import VideoSettings
from .concat import check_alike
from .segments import Segment
from .source import Source
from .transcode import VideoReport

Job = Mapping[str, Mapping[str, str]]
"""What segments are made of and with: names and values, in groups."""

_FORMAT = 1
"""Of the manifest. One of another is not read."""

_SAMPLES, _SAMPLE = 16, 1 << 16
"""How many parts of a large file are looked at, of so many bytes."""


@dataclass(frozen=True)
class Finished:
    """What is known of a segment that is finished."""

    sha256: str
    """Of its file."""
    report: Report | None
    """What the upscale was like, if there was a frame."""
    video: VideoReport


class SegmentFolder:
    """The folder, once it is made. Whoever reads or changes what is in it does so within `locked`.

    Args:
        path: of the folder; that in which it is has to be there.
        suffix: of the files of segments.
    """

    def __init__(self, path: Path, suffix: str) -> None:
        self.path, self._suffix = path, suffix
        self.segments: list[Segment] = []
        self.finished: dict[int, Finished] = {}
        """By index."""
        self._job: Job = {}

    @contextmanager
    def locked(self) -> Generator[None]:
        """Makes the folder, and keeps others out of it. The lock is one of the operating system, and ends with the process.

        If nothing is in it in the end, the folder is deleted.

        Raises:
            MissingExtraError: the package filelock is not installed.
            OutputError: another process, or another thread, is at work in it; or it cannot be made.
        """
        filelock = require_extra("filelock", "to upscale videos in segments")
        lock = filelock.FileLock(self.path / "lock", timeout=0)
        try:
            self.path.mkdir(exist_ok=True)
            lock.acquire()
        except filelock.Timeout as error:
            raise OutputError(
                f"In '{self.path}', {self._owner_text()} is at work already. Wait until that is done, end it, or choose another target."
            ) from error
        except OSError as error:
            raise OutputError(f"'{self.path}' cannot be written to: {error.strerror or error}.") from error
        try:
            with suppress(OSError):  # a full disk; it is for messages only
                self._owner.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
            yield
        finally:
            bare = self._is_bare()
            if bare:
                self._remove()
            lock.release()
            if bare:
                self._remove()  # Windows deletes no file that is open

    def begin(self, job: Job, plan: Callable[[], list[Segment]]) -> None:
        """Goes on with what is there, if it is of the same job; else begins. Files of segments that are not whole count as none.

        Args:
            job: as `job_of` tells it.
            plan: gives the segments, if this is the beginning.

        Raises:
            OptionError: what is there is of another job.
            OutputError: the folder cannot be written to.
        """
        self._clear_leftovers()
        known = self._read()
        if known is None:
            self._job, self.segments = job, plan()
            self._write()
            return
        self._job, self.segments, finished = known
        self._check_job(job)
        self.finished = {index: one for index, one in finished.items() if _digest(self.part(self.segments[index])) == one.sha256}

    def part(self, segment: Segment) -> Path:
        """Where the file of a segment is, or is to be."""
        return self.path / f"{segment.index:05}{self._suffix}"

    @property
    def parts(self) -> list[Path]:
        """The same of all segments."""
        return [self.part(segment) for segment in self.segments]

    @property
    def whole(self) -> Path:
        """Where the segments are to be joined."""
        return self.path / f"whole{self._suffix}"

    def missing(self) -> list[Segment]:
        """Those that are not finished."""
        return [segment for segment in self.segments if segment.index not in self.finished]

    def finish(self, segment: Segment, report: Report | None, video: VideoReport) -> None:
        """Notes that a segment is finished, whose file is there.

        Raises:
            VideoError: the file does not fit to those that are finished.
            OutputError: the folder cannot be written to.
        """
        first = next((one for one in self.segments if one.index in self.finished and self.finished[one.index].video.frames), segment)
        if video.frames:
            check_alike([self.part(first), self.part(segment)])
        self.finished[segment.index] = Finished(_digest(self.part(segment)), report, video)
        self._write()

    def hand_over(self, target: Path, *, overwrite: bool) -> None:
        """Moves what was joined to where it is to be, and the folder is cleared.

        Raises:
            OutputError: the target exists, or cannot be written.
        """
        check_output(target, overwrite=overwrite)
        move(self.whole, target)
        self.clear()

    def clear(self) -> None:
        """Deletes what was made here. Files of others stay, and with them the folder."""
        self._manifest.unlink(missing_ok=True)  # first, lest it tell of what is no longer there
        for part in self.path.glob(f"[0-9]*{self._suffix}"):
            part.unlink(missing_ok=True)
        self._clear_leftovers()

    def _clear_leftovers(self) -> None:
        """Deletes what processes left that were killed."""
        for suffix in (self._suffix, self._manifest.suffix):
            for leftover in self.path.glob(f".*{suffix}"):
                leftover.unlink(missing_ok=True)

    @property
    def _manifest(self) -> Path:
        return self.path / "manifest.json"

    @property
    def _owner(self) -> Path:
        return self.path / "owner.txt"

    def _owner_text(self) -> str:
        with suppress(OSError):
            return self._owner.read_text(encoding="utf-8")
        return "another process"

    def _is_bare(self) -> bool:
        return {path.name for path in self.path.iterdir()} <= {"lock", self._owner.name}

    def _remove(self) -> None:
        with suppress(OSError):
            for path in (self._owner, self.path / "lock"):
                path.unlink(missing_ok=True)
            self.path.rmdir()

    def _read(self) -> tuple[Job, list[Segment], dict[int, Finished]] | None:
        """What the manifest tells; None if there is none that can be read."""
        try:
            told = json.loads(self._manifest.read_bytes())
            segments = [Segment(**segment) for segment in told["segments"]]
            finished = {int(index): _finished(entry) for index, entry in told["finished"].items()}
            known = told["format"] == _FORMAT and set(finished) <= set(range(len(segments)))
            return (told["job"], segments, finished) if known else None
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None

    def _write(self) -> None:
        told = {
            "format": _FORMAT,
            "job": self._job,
            "segments": [asdict(segment) for segment in self.segments],
            "finished": {index: asdict(one) for index, one in sorted(self.finished.items())},
        }
        with replacing(self._manifest, overwrite=True, durable=True) as temporary:
            temporary.write_text(json.dumps(told, indent=1), encoding="utf-8")

    def _check_job(self, job: Job) -> None:
        before = self._job
        differences = [
            f"{group} ({name} was {before.get(group, {}).get(name, 'not told')}, and is {value})"
            for group, values in job.items()
            for name, value in values.items()
            if before.get(group, {}).get(name) != value
        ]
        if differences:
            raise OptionError(
                f"'{self.path}' holds segments that were begun otherwise. Different are: {', '.join(differences)}. Ask for the same as "
                "then to go on with them, or delete the folder to begin anew."
            )


def job_of(model: Model, source: Source, settings: Settings, video: VideoSettings, *, start: float, duration: float) -> Job:
    """What tells whether segments belong together."""
    return {
        "the source": _fingerprint(source),
        "the model": _weights(model),
        "the settings": {field.name: repr(getattr(settings, field.name)) for field in fields(settings)},
        "the settings of the video": {field.name: repr(getattr(video, field.name)) for field in fields(video)},
        "the window": {"start": repr(float(start)), "duration": repr(float(duration))},
    }


def _weights(model: Model) -> dict[str, str]:
    """The weights themselves are looked at, since not every model knows its file."""
    ours, digest = adopt(model), hashlib.sha256()
    for key, tensor in ours.model.state_dict().items():
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().float().contiguous().numpy().tobytes())
    info = describe(ours)
    return {
        "architecture": info.architecture,
        "scale": str(info.scale),
        "normalisation": info.normalisation,
        "SHA-256 of its weights": digest.hexdigest(),
    }


def _fingerprint(source: Source) -> dict[str, str]:
    """Size and samples of a file: to read all of a film would take minutes. A video that was changed has other ones."""
    if isinstance(source, (str, Path)):
        with Path(source).open("rb") as file:
            return _fingerprint_of(file)
    return _fingerprint_of(source)


def _fingerprint_of(file: BinaryIO) -> dict[str, str]:
    size, digest = file.seek(0, os.SEEK_END), hashlib.sha256()
    for number in range(_SAMPLES):
        file.seek(max(0, size - _SAMPLE) * number // (_SAMPLES - 1))
        digest.update(file.read(_SAMPLE))
    return {"bytes": str(size), "SHA-256 of samples": digest.hexdigest()}


def _digest(path: Path) -> str:
    """SHA-256 of a file; empty if there is none."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()


def _finished(entry: Mapping[str, Any]) -> Finished:
    report, video = entry["report"], entry["video"]
    return Finished(
        entry["sha256"],
        None if report is None else _report(report),
        VideoReport(**{name: _tuples(value) for name, value in video.items()}),
    )


def _tuples(value: Any) -> Any:
    """JSON knows lists only."""
    return tuple(cast(list[Any], value)) if isinstance(value, list) else value


def _report(saved: dict[str, Any]) -> Report:
    """Return the report that was saved as a dict of its fields."""
    values: dict[str, Any] = {name: _tuples(value) for name, value in saved.items()}
    values["method"] = Method(**{name: _tuples(value) for name, value in saved["method"].items()})
    values["recovered"] = Recovered(**saved["recovered"])
    return Report(**values)
