"""What becomes of a file, as its header tells it."""

from __future__ import annotations

from dataclasses import dataclass

from .._util.files import check_output
from ..engine.settings import Settings
from ..image_files import check_fits, read_header
from ..image_ops.channels import Channels
from ..image_ops.sizes import Pair, route
from ..image_ops.transparency import composed_channels
from ..models.build import Model
from ..video import probe
from ..video.codecs import encoders
from .job import Job


@dataclass(frozen=True)
class Foresight:
    """What a job will make of its file, if all goes well."""

    before: Pair
    """Height and width of the source, in pixels."""
    after: Pair
    """The same of the result."""
    frames: int
    """About how many there are, of a video."""
    channels: int
    """Of the result, as far as a header tells."""
    bits: int
    """Of the result, a channel."""
    shown: int
    """How many pixels the network is shown of a frame, in all passes."""

    @property
    def pixels(self) -> int:
        """Of the results, in all frames."""
        return self.frames * self.after[0] * self.after[1]

    @property
    def bytes(self) -> int:
        """Of the result, uncompressed."""
        return self.pixels * self.channels * (2 if self.bits > 8 else 1)


def result_channels(model: Model, settings: Settings, channels: int) -> int:
    """Channels of the result of an image of so many."""
    return Channels(composed_channels(channels, settings.alpha), model.input_channels, model.output_channels).out


def foresee(model: Model, job: Job) -> Foresight | None:
    """Looks at a file without decoding its pixels, but for the first frame of a video. Nothing is written.

    Returns:
        What would become of it; None if it would be skipped.

    Raises:
        SpanArchError: it cannot be read, or the result cannot be written, as far as that can be known.
    """
    if job.is_skipped:
        return None
    if job.target.exists() or not job.make_folder:
        check_output(job.target, overwrite=job.existing == "replace")
    if job.is_video:
        encoders(job.target, job.video_settings)
        video = probe(job.source)
        before, frames, channels, bits = (video.height, video.width), video.frames, 3 + video.alpha, video.depth
    else:
        seen = read_header(job.source)
        before, frames, channels, bits = (seen.height, seen.width), seen.frames, seen.channels, seen.bits
    way, out = route(job.settings.size, *before, model.scale), result_channels(model, job.settings, channels)
    if not job.is_video:
        check_fits(job.target, width=way.size[1], height=way.size[0], channels=out, frames=frames)
    return Foresight(before, way.size, frames, out, bits, way.pixels)
