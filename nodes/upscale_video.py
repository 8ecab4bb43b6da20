"""The node SPAN Upscale Video."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..span_arch.models.build import Model
from ..span_arch.video import VideoSettings, probe, upscale_video
from . import _host, _inputs
from ._display import Display

_SUFFIXES = {"auto": ".mp4", "h264": ".mp4", "hevc": ".mp4", "av1": ".mp4", "vp9": ".webm", "prores": ".mov", "ffv1": ".mkv"}
"""The codecs, each with the suffix of its usual container."""

_EDITING_CODECS = ("prores", "ffv1")

_AS_SOURCE = "as the source"
_PIXEL_FORMATS = (_AS_SOURCE, "yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le")


class SPANUpscaleVideo(io.ComfyNode):
    """A node that upscales a video from file to file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        size, *advanced = _inputs.upscale_inputs()
        schema = io.Schema(
            node_id="SPANUpscaleVideo",
            display_name="SPAN Upscale Video",
            category="image/video",
            description="Upscale a video of any length in constant memory. The result keeps the audio, subtitles, timing and colours.",
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.UpscaleModel.Input("upscale_model", tooltip="Model from Load SPAN Model or any other upscale model loader."),
                io.Video.Input("video", tooltip="Video to upscale. If it is trimmed, only that part is upscaled."),
                io.Combo.Input(
                    "codec",
                    options=list(_SUFFIXES),
                    default="h264",
                    tooltip="Video codec of the result. h264 plays everywhere; hevc and av1 make smaller files.",
                ),
                size,
                _host.advanced(
                    io.Float.Input(
                        "quality",
                        default=-1.0,
                        min=-1.0,
                        max=63.0,
                        step=1.0,
                        optional=True,
                        tooltip="Constant rate factor: lower values give better quality and larger files. -1 uses a good default.",
                    )
                ),
                _host.advanced(
                    io.Combo.Input(
                        "container",
                        options=["auto", "mp4", "mov", "mkv", "webm"],
                        default="auto",
                        optional=True,
                        tooltip="Container format of the result. auto chooses one that suits the codec.",
                    )
                ),
                _host.advanced(
                    io.Combo.Input(
                        "pixel_format",
                        options=list(_PIXEL_FORMATS),
                        default=_AS_SOURCE,
                        optional=True,
                        tooltip="Chroma subsampling and bit depth of the result. yuv420p plays everywhere.",
                    )
                ),
                *advanced,
            ],
            outputs=[
                io.Video.Output(
                    display_name="video", tooltip="Upscaled video in a temporary file. Save Video keeps it without encoding it again."
                )
            ],
        )
        return _host.with_aliases(
            schema, "video upscaler", "upscale video", "enlarge video", "super-resolution video", "4K video", "long video"
        )

    @classmethod
    def execute(
        cls,
        upscale_model: Model,
        video: Any,
        codec: str,
        quality: float = -1,
        container: str = "auto",
        pixel_format: str = _AS_SOURCE,
        **inputs: Any,
    ) -> io.NodeOutput:
        target = _host.new_file("SPAN", _SUFFIXES[codec] if container == "auto" else f".{container}", temporary=True)
        with _host.video_file(video) as (source, start, duration, is_of_images):
            written: str | None = pixel_format
            if pixel_format == _AS_SOURCE:  # images have no subsampling to keep, so the format is the one that plays everywhere
                written = "yuv420p" if is_of_images and codec not in _EDITING_CODECS else None
            count = probe(source).frames_in(start, duration) or None
            with Display.open(cls, count) as display:
                reports = upscale_video(
                    upscale_model,
                    source,
                    target,
                    _inputs.settings_from(inputs),
                    VideoSettings(codec, quality if quality >= 0 else None, None, written),
                    display.context(upscale_model),
                    start=start,
                    duration=duration,
                    count=count,
                )
                display.report(*reports)
        return io.NodeOutput(_host.video_from(target), ui=display.ui | _host.video_preview(target))
