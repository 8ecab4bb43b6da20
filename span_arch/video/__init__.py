"""Video files, changed frame by frame, with everything else that they contain.

    from span_arch.video import copy_video, probe

This needs PyAV, an extra of the library that ComfyUI already has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._util.lazy import lazy_names

if TYPE_CHECKING:
    from .codecs import VideoSettings
    from .concat import join_segments
    from .frames_to_video import compose
    from .one_pass import upscale_video
    from .resumable import upscale_video_resumably
    from .segments import plan_segments, write_segment
    from .source import Source
    from .transcode import Transform, copy_video
    from .video_info import AudioInfo, VideoInfo, probe
    from .video_report import Note, VideoReport
    from .window import Segment

__all__ = [
    "AudioInfo",
    "Note",
    "Segment",
    "Source",
    "Transform",
    "VideoInfo",
    "VideoReport",
    "VideoSettings",
    "compose",
    "copy_video",
    "join_segments",
    "plan_segments",
    "probe",
    "upscale_video",
    "upscale_video_resumably",
    "write_segment",
]

__getattr__ = lazy_names(
    __name__,
    {
        ".codecs": ("VideoSettings",),
        ".concat": ("join_segments",),
        ".frames_to_video": ("compose",),
        ".one_pass": ("upscale_video",),
        ".resumable": ("upscale_video_resumably",),
        ".segments": ("plan_segments", "write_segment"),
        ".source": ("Source",),
        ".transcode": ("Transform", "copy_video"),
        ".video_info": ("AudioInfo", "VideoInfo", "probe"),
        ".video_report": ("Note", "VideoReport"),
        ".window": ("Segment",),
    },
)
