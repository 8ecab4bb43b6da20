"""The errors that a caller, a file or a machine can cause, in one tree.

    SpanArchError
    ├── CheckpointError                no model can be loaded from a file or a name
    │   ├── CheckpointNotFoundError    the file or the named model does not exist
    │   ├── BrokenCheckpointError      the file is empty, truncated, a web page, or half of an ncnn pair
    │   ├── UnsafeCheckpointError      the file is a pickle that would run code
    │   ├── UnknownArchitectureError   the weights belong to nothing that upscales an image
    │   └── WeightsError               tensors of a network are missing, misshapen or not finite
    ├── DownloadError                  a known model cannot be downloaded
    ├── ImageError                     an image has a size, shape or content that cannot be upscaled
    ├── VideoError                     a video cannot be read, or no installed encoder can write it
    ├── OptionError                    a setting is outside its range
    ├── VerificationError              a saved file does not reproduce its model
    ├── OutputError                    a file exists already or cannot be written
    │   └── DiskFullError              the disk is full
    ├── ClusterError                   a cluster cannot be joined, or gave up
    ├── MissingExtraError              an optional package is not installed
    ├── NotFiniteError                 a network returns NaN or infinity even in float32
    └── OutOfMemoryError               not even the smallest tile fits into memory

Each message says what is wrong, what was expected and what to do.
"""

from __future__ import annotations

DOWNLOAD_AGAIN = "If the download was interrupted, download the file again."
"""The advice that ends most messages about damaged files."""


class SpanArchError(Exception):
    """The root of all errors of this library."""


class CheckpointError(SpanArchError):
    """No model can be loaded from a file or a name."""


class CheckpointNotFoundError(CheckpointError):
    """The file or the named model does not exist."""


class BrokenCheckpointError(CheckpointError):
    """The file's contents are not what its suffix promises."""


class UnsafeCheckpointError(CheckpointError):
    """The file is a pickle that would run code. None of it was run."""


class UnknownArchitectureError(CheckpointError):
    """The weights are readable, but belong to nothing that upscales an image."""


class WeightsError(CheckpointError):
    """Tensors of a network are missing, misshapen or not finite."""


class DownloadError(SpanArchError):
    """A known model cannot be downloaded, or its address gives another file."""


class ImageError(SpanArchError):
    """An image has a size, shape or content that cannot be upscaled."""


class VideoError(SpanArchError):
    """A video cannot be read, or no installed encoder can write it."""


class OptionError(SpanArchError):
    """A setting is outside its range."""


class OutputError(SpanArchError):
    """A file exists already or cannot be written."""


class DiskFullError(OutputError):
    """The disk is full, so no other file can be written either."""


class ClusterError(SpanArchError):
    """A cluster cannot be joined, or gave up its work."""


class MissingExtraError(SpanArchError):
    """An optional package is needed and not installed."""


class VerificationError(SpanArchError):
    """A saved file gives another image in the program that it is meant for."""


class NotFiniteError(SpanArchError):
    """A network returns NaN or infinity even in float32."""


class OutOfMemoryError(SpanArchError):
    """Not even the smallest tile fits into memory."""
