"""The exit codes of ``span-upscale``."""

from __future__ import annotations

from enum import IntEnum

from .. import errors


class ExitCode(IntEnum):
    """How a command ended."""

    DONE = 0
    SOME_FAILED = 1
    """Some of several files failed."""
    USAGE = 2
    """The command line is wrong."""
    MODEL = 3
    """The model cannot be loaded."""
    INPUT = 4
    """The image or the video cannot be upscaled."""
    OUTPUT = 5
    """The output cannot be written, or was written and failed its check."""
    COMPUTATION = 6
    """Memory ran out, or the network gave values that are not finite."""
    MISSING_PACKAGE = 7
    CLUSTER = 8
    """The cluster cannot be joined, or gave up."""
    DOWNLOAD = 9
    """The model cannot be downloaded."""
    STOPPED = 130
    """Ctrl+C or SIGTERM."""

    @classmethod
    def of(cls, error: errors.SpanArchError) -> ExitCode:
        """Return the exit code for an error."""
        return next(code for kind, code in _CODES.items() if isinstance(error, kind))


_CODES: dict[type[errors.SpanArchError], ExitCode] = {
    errors.OptionError: ExitCode.USAGE,
    errors.CheckpointError: ExitCode.MODEL,
    errors.ImageError: ExitCode.INPUT,
    errors.VideoError: ExitCode.INPUT,
    errors.OutputError: ExitCode.OUTPUT,
    errors.VerificationError: ExitCode.OUTPUT,
    errors.MissingExtraError: ExitCode.MISSING_PACKAGE,
    errors.ClusterError: ExitCode.CLUSTER,
    errors.DownloadError: ExitCode.DOWNLOAD,
    errors.SpanArchError: ExitCode.COMPUTATION,
}
