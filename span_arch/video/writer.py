"""Video files in the making: their frames, encoded, and the packets of other streams, copied."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from .._util.text import first_line
from ..errors import VideoError
from ._av import Packet, av
from .demuxer import Demuxer
from .encoding import Encoding
from .frames import frame_of
from .muxer import Muxer, open_output
from .reader import VideoFrame
from .video_report import Note
from .window import TimedPacket


class VideoWriter:
    """A video file that is open for writing. Methods may raise OSError.

    Raises:
        VideoError: the encoder rejects the settings.
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, demuxer: Demuxer, encoding: Encoding, *, video_only: bool = False) -> None:
        self.frames = 0
        """The number of frames written."""
        self.encoding, self._durations = encoding, dict[int, int]()
        container = open_output(path, encoding.source.time_base if video_only else None)
        try:
            self._muxer = Muxer(container, path, demuxer, lambda: encoding.add_stream(container), video_only=video_only)
        except av.error.FFmpegError as error:
            width, height = encoding.size
            raise VideoError(
                f"The encoder {encoding.encoder} rejects frames of {width}x{height} pixels in {encoding.pixel_format} with these settings "
                f"({first_line(error)}). Try another codec, quality or preset."
            ) from error

    @property
    def notes(self) -> tuple[Note, ...]:
        """The differences from the source."""
        return (*self._muxer.notes, *self.encoding.notes)

    def write(self, frame: VideoFrame | None, packets: Iterable[TimedPacket] = ()) -> None:
        """Write packets of other streams, if the container holds these, and encode a frame, if there is one.

        Raise VideoError if the image has another size than the encoding, or the encoder fails.
        """
        for packet in packets:
            self._muxer.copy(packet)
        if frame is None:
            return
        (height, width), encoding = frame.image.shape[:2], self.encoding
        if (width, height) != encoding.image_size:
            first = "{}x{}".format(*encoding.image_size)
            raise VideoError(f"A frame has {width}x{height} pixels after one of {first}. Expected frames of one size.")
        coded = frame_of(_padded(frame.image, *encoding.size), encoding.layout, encoding.colour, encoding.pixel_format)
        coded.pts, coded.time_base = frame.pts, encoding.source.time_base
        if frame.duration:
            self._durations[frame.pts] = frame.duration
        self._encode(coded)
        self.frames += 1

    def finish(self) -> None:
        """Write the frames that the encoder has held back. Raise VideoError if it fails. No frame can follow."""
        self._encode(None)

    def close(self) -> None:
        """Close the file, which then has everything that was written."""
        self._muxer.close()

    def _encode(self, frame: av.VideoFrame | None) -> None:
        try:
            packets = cast("list[Packet]", self._muxer.video.encode(frame))
        except av.error.FFmpegError as error:
            raise VideoError(f"The encoder {self.encoding.encoder} failed ({first_line(error)}). Try another codec.") from error
        for packet in packets:
            assert packet.pts is not None  # encoders keep the times of their frames
            single = frame is None and self.frames == 1  # for a single frame, x265 returns an uninitialised decoding time
            dts = packet.pts if single or packet.dts is None else packet.dts
            duration = self._durations.pop(packet.pts, packet.duration or 0)
            self._muxer.write(TimedPacket(packet, packet.pts, dts, duration), self._muxer.video)


def _padded(image: Tensor, width: int, height: int) -> Tensor:
    """Repeat the last row and the last column up to a size."""
    rows, columns = height - image.shape[0], width - image.shape[1]
    image = torch.cat((image, image[-1:].expand(rows, -1, -1)), 0) if rows else image
    return torch.cat((image, image[:, -1:].expand(-1, columns, -1)), 1) if columns else image
