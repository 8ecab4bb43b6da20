"""Everything that can go wrong through no fault of ours, in one tree.

    SpanArchError
    ├── CheckpointError                a file, or a name, that should give a network
    │   ├── CheckpointNotFoundError    no such file, no such built-in network
    │   ├── BrokenCheckpointError      empty, truncated, a web page, half of an ncnn pair
    │   ├── UnsafeCheckpointError      a pickle that wants to run code
    │   ├── UnknownArchitectureError   weights, but not of this family
    │   └── WeightsError               of this family, but tensors are missing, misshapen or not finite
    ├── ImageError                     an image of a size, a shape or a content that cannot be upscaled
    ├── VideoError                     a video that cannot be read, or that no encoder here can write
    ├── OptionError                    a setting outside its range
    ├── VerificationError              a file that was written and does not do what it should
    ├── OutputError                    a file that exists already or cannot be written
    │   └── DiskFullError              there is no room left for it
    ├── ClusterError                   a cluster that cannot be joined, or that gives up
    ├── MissingExtraError              a package that only some need, and that is not installed
    ├── NotFiniteError                 a network that answers with NaN or infinity even in float32
    └── OutOfMemoryError               not even the smallest tile fits

Each message says what was found, what was expected and what to do about it.
"""

from __future__ import annotations


class SpanArchError(Exception):
    """The root of all errors that a caller can cause."""


class CheckpointError(SpanArchError):
    """A file, or a name, that should give a network and does not."""


class CheckpointNotFoundError(CheckpointError):
    """No such file, and no built-in network of that name."""


class BrokenCheckpointError(CheckpointError):
    """A file that cannot be read as what its name says it is."""


class UnsafeCheckpointError(CheckpointError):
    """A pickle that asks for more than tensors; nothing of it was run."""


class UnknownArchitectureError(CheckpointError):
    """Readable weights of a network that is not of the SPAN family."""


class WeightsError(CheckpointError):
    """A network of the family whose tensors are missing, misshapen or not finite."""


class ImageError(SpanArchError):
    """An image of a size, a shape or a content that cannot be upscaled."""


class VideoError(SpanArchError):
    """A video that cannot be read, or that no encoder here can write."""


class OptionError(SpanArchError):
    """A setting outside its range."""


class OutputError(SpanArchError):
    """A file that exists already, or that cannot be written."""


class DiskFullError(OutputError):
    """A file for which there is no room left, nor for any other."""


class ClusterError(SpanArchError):
    """A cluster that cannot be joined, or that gives up what it was given to do."""


class MissingExtraError(SpanArchError):
    """A package that is needed for what was asked, and that is not installed."""


class VerificationError(SpanArchError):
    """A file that was written, read again by the program it is for, and gave another picture."""


class NotFiniteError(SpanArchError):
    """A network that answers with NaN or infinity even in float32."""


class OutOfMemoryError(SpanArchError):
    """Not even the smallest tile fits into memory."""
