"""SPAN Upscale Video."""

from __future__ import annotations

from comfy_api.latest import io

from ..span_arch import Context
from ..span_arch.video import VideoSettings, probe, upscale_video
from . import _host, _inputs
from ._preview import Display

_FILES = {"auto": ".mp4", "h264": ".mp4", "hevc": ".mp4", "av1": ".mp4", "vp9": ".webm", "prores": ".mov", "ffv1": ".mkv"}
"""The codecs to choose from, and the files that they are put into unless others are asked for."""

_FOR_WORK = ("prores", "ffv1")

_SAME = "as the source"
_PIXEL_FORMATS = (_SAME, "yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le")


class SPANUpscaleVideo(io.ComfyNode):
    """A video, upscaled from file to file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        schema = io.Schema(
            node_id="SPANUpscaleVideo",
            display_name="SPAN Upscale Video",
            category="image/video",
            description="Upscales a video of any length from file to file, in constant memory. Audio, subtitles, times and colours stay.",
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.UpscaleModel.Input("upscale_model", tooltip="From Load SPAN Model, or from any other loader of upscale models."),
                io.Video.Input("video", tooltip="From Load Video or Create Video. Of one that is trimmed, only that part is upscaled."),
                io.Combo.Input(
                    "codec",
                    options=list(_FILES),
                    default="h264",
                    tooltip="h264 plays everywhere; hevc and av1 make smaller files. prores and ffv1 are for further work; ffv1 loses "
                    "nothing. auto: h264, by the hardware if it can.",
                ),
                _host.advanced(
                    io.Float.Input(
                        "quality",
                        default=-1.0,
                        min=-1.0,
                        max=63.0,
                        step=1.0,
                        optional=True,
                        tooltip="Constant rate factor of the codec: lower is better, and larger. -1: a good default.",
                    )
                ),
                _host.advanced(
                    io.Combo.Input(
                        "container",
                        options=["auto", "mp4", "mov", "mkv", "webm"],
                        default="auto",
                        optional=True,
                        tooltip="Kind of file. mkv holds every kind of audio and subtitles, but does not play in a browser. auto: what "
                        "suits the codec.",
                    )
                ),
                _host.advanced(
                    io.Combo.Input(
                        "pixel_format",
                        options=list(_PIXEL_FORMATS),
                        default=_SAME,
                        optional=True,
                        tooltip="How finely colours are kept. As the source: with its bits and its chroma. yuv420p plays everywhere.",
                    )
                ),
                *_inputs.inputs(),
            ],
            outputs=[
                io.Video.Output(display_name="video", tooltip="The upscaled video, in a temporary file. Save Video keeps it as it is.")
            ],
        )
        return _host.found_by(
            schema, "video upscaler", "upscale video", "enlarge video", "super-resolution video", "4K video", "long video"
        )

    @classmethod
    def execute(cls, upscale_model, video, codec, quality=-1, container="auto", pixel_format=_SAME, **inputs) -> io.NodeOutput:
        settings, suffix = _inputs.wish(inputs), _FILES[codec] if container == "auto" else f".{container}"
        target = _host.new_file("SPAN", suffix, temporary=True)
        with _host.video_file(video) as (source, start, duration, made):
            pixels = pixel_format if pixel_format != _SAME else "yuv420p" if made and codec not in _FOR_WORK else None
            count = probe(source).frames_in(start, duration) or None
            with Display(cls, count) as display:
                context = Context(_host.device_of(upscale_model), _host.room_for(upscale_model), display.progress)
                reports = upscale_video(
                    upscale_model,
                    source,
                    target,
                    settings,
                    VideoSettings(codec, quality if quality >= 0 else None, None, pixels),
                    context,
                    start=start,
                    duration=duration,
                    count=count,
                )
                display.report(*reports)
        return io.NodeOutput(_host.video(target), ui=display.ui | _host.played(target))
