"""PyAV, which is imported on first use, and the facts that its type stubs leave out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from .._util.extras import require_extra
from .._util.process import set_default_variable

if TYPE_CHECKING:
    import av
    import av.container  # pyright: ignore[reportUnusedImport]
    import av.error  # pyright: ignore[reportUnusedImport]
    import av.stream

    Packet = av.Packet[av.stream.Stream]
else:
    Packet = Any

    class _LazyPackage:
        """The package ``av``, version 14.2 or newer. Reading an attribute raises MissingExtraError if it is not installed."""

        def __getattr__(self, name: str) -> Any:
            set_default_variable("SVT_LOG", "1")  # otherwise the AV1 encoder SVT-AV1 prints its settings from native code
            return getattr(require_extra("av", "to read and write videos"), name)

    av = _LazyPackage()


def codec_of(stream: av.stream.Stream) -> str | None:
    """Return the name of a stream's codec; None if PyAV has no codec for it, in which case the context is missing despite the stubs."""
    context = cast("av.CodecContext | None", stream.codec_context)
    return None if context is None else context.codec.canonical_name
