"""Find the files to upscale and name their results. No file is opened or written."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .._util.text import join_words
from ..errors import ImageError, OutputError, SpanArchError
from .file_kinds import Formats, is_supported

SourceAndTarget = tuple[Path, Path]

_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")


@dataclass(frozen=True)
class Found:
    """The files to upscale."""

    pairs: tuple[SourceAndTarget, ...]
    """Each source with its target, in the order of the inputs; within a folder by name. All targets differ, and no target is a source."""
    folder: bool
    """True if the targets are in a folder under the names of their sources; False if one file goes to one file."""
    ignored: tuple[Path, ...] = ()
    """Files of other kinds, and links to folders, found in folders."""
    errors: tuple[SpanArchError, ...] = ()
    """One error for each folder that cannot be read."""


def find(inputs: Sequence[Path | str], output: Path | str, *, recursive: bool = False, formats: Formats | None = None) -> Found:
    """Find the files to upscale, and name their targets.

    A single file goes to `output` itself, unless `output` is a folder or ends in a separator. Everything else goes into the folder
    `output`: a file under its own name, and the files of a folder under their paths relative to that folder. The search skips names that
    begin with a dot, and `output` itself if it lies within an input. It follows links to files but not links to folders.

    Args:
        inputs: files, folders and shell patterns such as ``*.png`` or ``**/*.jpg``.
        output: a file or a folder, which need not exist.
        recursive: search folders within folders.
        formats: the formats of results in a folder.

    Raises:
        ImageError: a pattern matches nothing, or there is nothing to upscale.
        OutputError: two results would share a file, a result would replace an input, or `output` is a file, but has to be a folder.
    """
    sources = list(_expand_patterns(inputs))
    if (
        len(sources) == len(inputs) == 1
        and sources[0] == Path(inputs[0])
        and _file_type(sources[0]) != stat.S_IFDIR
        and not _names_a_folder(output)
    ):
        return Found(tuple(_distinct([(sources[0], Path(output))])), folder=False)
    search = _Search(Path(output), recursive, formats or Formats())
    pairs = [pair for source in sources for pair in search.pairs(source)]
    if _file_type(output) == stat.S_IFREG:
        raise OutputError(f"{output} is a file, but several inputs, a folder or a pattern need a folder. Name a folder, existing or new.")
    if not pairs and not search.errors:
        raise ImageError(
            f"There are no images or videos in {join_words([str(source) for source in sources])} (files of other kinds: "
            f"{len(search.ignored)}). To search the folders within as well, use --recursive (in Python: recursive=True)."
        )
    return Found(tuple(_distinct(pairs)), True, tuple(search.ignored), tuple(search.errors))


def output_beside(source: Path, label: str, formats: Formats | None = None) -> Path:
    """Return the output for a single input that has none: next to it, with ``label`` after its name.

    A folder gets a folder. A file keeps its format as in `find`, but JPEG becomes PNG, so that it does not lose quality again.
    """
    source = source if source.name not in ("", "..") else Path(os.path.abspath(source))  # noqa: PTH100 (resolve would follow links)
    if _file_type(source) == stat.S_IFDIR:
        return source.with_name(f"{source.name}{label}")
    formats = formats or Formats()
    target = formats.target_name(source)
    if formats.images is None and target.suffix.lower() in _JPEG:
        target = target.with_suffix(".png")
    return target.with_name(f"{source.stem}{label}{target.suffix}")


@dataclass
class _Search:
    """A search through the inputs, with the files that it ignored and the errors that it met."""

    output: Path
    recursive: bool
    formats: Formats
    ignored: list[Path] = field(default_factory=list[Path])
    errors: list[SpanArchError] = field(default_factory=list[SpanArchError])

    def pairs(self, source: Path) -> Iterator[SourceAndTarget]:
        """Yield the pairs of an input, which is a file or a folder."""
        if _file_type(source) != stat.S_IFDIR:
            yield source, self.output / self.formats.target_name(Path(source.name))
            return
        if os.path.realpath(source) == os.path.realpath(self.output):
            raise OutputError(f"The output folder {self.output} is also an input. Name another folder; it may lie within the input.")
        for file in self._files(source):
            yield file, self.output / self.formats.target_name(file.relative_to(source))

    def _files(self, root: Path) -> Iterator[Path]:
        output = os.path.realpath(self.output)
        for folder, folders, names in os.walk(root, onerror=self._add_error):
            here = Path(folder)
            shown = [name for name in sorted(folders) if not name.startswith(".")]
            self.ignored += [here / name for name in shown if (here / name).is_symlink()]
            folders[:] = [name for name in shown if os.path.realpath(here / name) != output] if self.recursive else []
            for path in (here / name for name in sorted(names) if not name.startswith(".")):
                if is_supported(path) and _file_type(path) in (stat.S_IFREG, None):  # a broken link fails with a reason when it is read
                    yield path
                else:
                    self.ignored.append(path)

    def _add_error(self, error: OSError) -> None:
        self.errors.append(ImageError(f"The folder {error.filename} cannot be read: {error.strerror or error}. Change its permissions."))


def _expand_patterns(inputs: Sequence[Path | str]) -> Iterator[Path]:
    for name in map(str, inputs):
        if not is_pattern(name):
            yield Path(name)
            continue
        matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 (Path.glob takes no absolute patterns)
        if not matches:
            raise ImageError(f"No file matches the pattern {name}. Check the folder, and upper and lower case.")
        yield from map(Path, matches)


def is_pattern(name: str) -> bool:
    """Return True for a shell pattern, unless a file has that very name."""
    return glob.has_magic(name) and not os.path.lexists(name)


def _names_a_folder(output: Path | str) -> bool:
    return _file_type(output) == stat.S_IFDIR or os.fspath(output).endswith(tuple(filter(None, (os.sep, os.altsep))))


def _file_type(path: Path | str) -> int | None:
    """Return the type of a file as a constant of `stat`, or None if the path does not exist or cannot be read."""
    try:
        return stat.S_IFMT(Path(path).stat().st_mode)
    except (OSError, ValueError):  # ValueError: a null character in the name
        return None


def _distinct(pairs: list[SourceAndTarget]) -> Iterator[SourceAndTarget]:
    """Yield the pairs, leaving out repeated ones.

    Raises:
        OutputError: two sources have the same target, or a target is a source.
    """
    sources = {os.path.realpath(source): source for source, _ in pairs}
    source_of: dict[str, Path] = {}
    for source, target in pairs:
        if (replaced := sources.get(os.path.realpath(target))) is not None:
            which = "the file itself" if replaced == source else f"the input {replaced}"
            raise OutputError(f"The result of {source} would replace {which}. Choose another output.")
        other = source_of.setdefault(os.path.normcase(os.path.realpath(target)), source)
        if other is not source:
            if os.path.realpath(other) == os.path.realpath(source):
                continue
            raise OutputError(f"The results of {other} and {source} would both be {target}. Rename one, or upscale them one by one.")
        yield source, target
