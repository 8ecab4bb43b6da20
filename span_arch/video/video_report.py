"""The report of a written video: data, from which ``str`` makes text."""

from __future__ import annotations

from dataclasses import dataclass

_TEXTS = {
    "broken frames": "{count} frames could not be decoded and were left out; the others keep their times.",
    "interlaced": "The source is interlaced, and its frames were used as they are. Deinterlace it first.",
    "not seekable": "The source is not seekable, so it was read from its start.",
    "no HDR10 metadata": "The HDR10 metadata about the mastering display was left out; the colours are unchanged.",
    "no cover": "The cover image was left out.",
    "no stream": "Stream {stream} ({type}, {codec}) was left out because {suffix} files cannot hold it; .mkv files hold most streams.",
    "padded": "The last row or column was repeated, from {source} to {result} pixels, because {pixel_format} needs even sides with this "
    "encoder; yuv444p does not.",
    "no pixel shape": "The pixels are not square, but {suffix} files with this codec cannot say so; .mp4, .mov and h264 can.",
    "no alpha": "The alpha channel was left out because this codec has none; prores in .mov and ffv1 in .mkv have one.",
    "fewer bits": "The source has {source} bits per sample, and this codec keeps {result} of them.",
}


@dataclass(frozen=True)
class Note:
    """A difference between a written video and its source. ``str`` makes a sentence of it."""

    kind: str
    """A key of the table of sentences."""
    values: tuple[tuple[str, int | str], ...] = ()
    """The values in the sentence, by name."""

    @classmethod
    def of(cls, kind: str, **values: int | str) -> Note:
        """Make a note with named values."""
        return cls(kind, tuple(values.items()))

    def __str__(self) -> str:
        return _TEXTS[self.kind].format(**dict(self.values))


@dataclass(frozen=True)
class VideoReport:
    """The result of writing a video. ``str`` makes one line of it."""

    frames: int
    """Frames that were written."""
    broken: int
    """Frames of the source that could not be decoded and were left out."""
    encoder: str
    """FFmpeg's name for the encoder; empty if there was no frame."""
    notes: tuple[Note, ...] = ()
    """Other differences from the source."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """A sentence for each difference from the source."""
        broken = (Note.of("broken frames", count=self.broken),) if self.broken else ()
        return tuple(str(note) for note in (*broken, *self.notes))

    def __str__(self) -> str:
        return " ".join([f"Written by {self.encoder}.", *self.sentences])
