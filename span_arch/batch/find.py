"""Which files are to be upscaled, and what becomes of each. Nothing is opened, made or written."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ImageError, OutputError, SpanArchError
from .kinds import Formats, is_known

SourceAndTarget = tuple[Path, Path]
"""A source and its target."""


@dataclass(frozen=True)
class Found:
    """What there is to do."""

    pairs: tuple[SourceAndTarget, ...]
    """Sources and targets, in the order of the inputs, and in a folder by name. No two targets are one file, and none is a source."""
    folder: bool
    """Whether targets are in a folder, under the names of their sources; otherwise there is one file to one file."""
    ignored: tuple[Path, ...] = ()
    """Files in folders that are neither pictures nor videos, and links to folders."""
    errors: tuple[SpanArchError, ...] = ()
    """Of folders that cannot be looked into."""


def find(inputs: Sequence[Path | str], output: Path | str, *, recursive: bool = False, formats: Formats | None = None) -> Found:
    """Finds the files to upscale, and names their targets.

    A single file goes to ``output`` itself, unless that is a folder or ends in a separator. All else goes into the folder ``output``: a
    file under its own name, those of a folder under their paths below it. The folder ``output`` itself is not looked into when it lies
    below an input, nor is what has a name that begins with a dot. Links to files are followed, links to folders are not.

    Args:
        inputs: files, folders, and patterns such as ``*.png`` or ``**/*.jpg`` as shells know them.
        output: a file or a folder; it need not be there.
        recursive: whether folders within folders are looked into.
        formats: what results are written as, in a folder.

    Raises:
        ImageError: a pattern matches nothing, or there is nothing to upscale.
        OutputError: two results would be one file, a result would replace an input, or ``output`` is a file and is to be a folder.
    """
    sources = list(_expanded(inputs))
    if (
        len(sources) == len(inputs) == 1
        and sources[0] == Path(inputs[0])
        and _kind(sources[0]) != stat.S_IFDIR
        and not _names_a_folder(output)
    ):
        return Found(tuple(_checked([(sources[0], Path(output))])), folder=False)
    search = _Search(Path(output), recursive, formats or Formats())
    pairs = [pair for source in sources for pair in search.pairs(source)]
    if _kind(output) == stat.S_IFREG:
        raise OutputError(
            f"'{output}' is a file; several inputs, a folder or a pattern go into a folder. Name one, which need not be there."
        )
    if not pairs and not search.errors:
        places = " or ".join(f"'{source}'" for source in sources)
        raise ImageError(
            f"There is no picture and no video in {places}; files of other kinds: {len(search.ignored)}. "
            "Folders within are looked into if that is asked for (--recursive on the command line)."
        )
    return Found(tuple(_checked(pairs)), True, tuple(search.ignored), tuple(search.errors))


@dataclass
class _Search:
    """The files below folders."""

    output: Path
    recursive: bool
    formats: Formats
    ignored: list[Path] = field(default_factory=list[Path])
    errors: list[SpanArchError] = field(default_factory=list[SpanArchError])

    def pairs(self, source: Path) -> Iterator[SourceAndTarget]:
        """Those of an input, which is a file or a folder."""
        if _kind(source) != stat.S_IFDIR:
            yield source, self.output / self.formats.renamed(Path(source.name))
            return
        if os.path.realpath(source) == os.path.realpath(self.output):
            raise OutputError(f"'{self.output}' is the folder of the inputs itself. Name another one, which may be within it.")
        for file in self._files(source):
            yield file, self.output / self.formats.renamed(file.relative_to(source))

    def _files(self, root: Path) -> Iterator[Path]:
        barred = os.path.realpath(self.output)
        for folder, folders, names in os.walk(root, onerror=self._fault):
            here = Path(folder)
            self.ignored += [here / name for name in folders if not _is_hidden(name) and (here / name).is_symlink()]
            inside = [name for name in sorted(folders) if not _is_hidden(name) and os.path.realpath(here / name) != barred]
            folders[:] = inside if self.recursive else []
            for path in (here / name for name in sorted(names) if not _is_hidden(name)):
                if is_known(path) and _kind(path) in (stat.S_IFREG, None):  # opening a broken link says what is wrong
                    yield path
                else:
                    self.ignored.append(path)

    def _fault(self, error: OSError) -> None:
        self.errors.append(
            ImageError(f"The folder '{error.filename}' cannot be looked into: {error.strerror or error}. Change its permissions.")
        )


def _expanded(inputs: Sequence[Path | str]) -> Iterator[Path]:
    """The inputs, with patterns replaced by what they match."""
    for name in map(str, inputs):
        if not glob.has_magic(name) or os.path.lexists(name):
            yield Path(name)
            continue
        matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 (Path.glob takes no absolute patterns)
        if not matches:
            raise ImageError(f"There is no file that the pattern '{name}' matches. Check the folder, and which letters are capitals.")
        yield from map(Path, matches)


def _is_hidden(name: str) -> bool:
    return name.startswith(".")


def _names_a_folder(output: Path | str) -> bool:
    return _kind(output) == stat.S_IFDIR or os.fspath(output).endswith(tuple(filter(None, (os.sep, os.altsep))))


def _kind(path: Path | str) -> int | None:
    """What is there, as `stat` has it; None if there is nothing, or if nobody can tell."""
    try:
        return stat.S_IFMT(Path(path).stat().st_mode)
    except (OSError, ValueError):  # the latter of names with a null in them
        return None


def _checked(pairs: list[SourceAndTarget]) -> Iterator[SourceAndTarget]:
    """The pairs without repetitions.

    Raises:
        OutputError: two targets are one file, or a target is a source.
    """
    sources = {os.path.realpath(source): source for source, _ in pairs}
    makers: dict[str, Path] = {}
    for source, target in pairs:
        place = os.path.normcase(os.path.realpath(target))
        if (clash := sources.get(os.path.realpath(target))) is not None:
            whose = "that file itself" if clash == source else f"'{clash}', which is an input"
            raise OutputError(f"The result of '{source}' would replace {whose}. Choose another output.")
        if (other := makers.setdefault(place, source)) is not source:
            if os.path.realpath(other) == os.path.realpath(source):
                continue
            raise OutputError(f"The results of '{other}' and '{source}' would both be '{target}'. Rename one, or upscale them one by one.")
        yield source, target
