"""Videos: a file to another, frame by frame, with all else that is in it.

    from span_arch.video import copy_video, probe

Needs PyAV, which is an extra of the library; ComfyUI has it.
"""

from .compose import compose
from .copy import Transform, VideoReport, copy_video
from .join import join_segments
from .probe import AudioInfo, VideoInfo, probe
from .resume import upscale_video_resumably
from .segments import Segment, plan_segments, write_segment
from .settings import VideoSettings
from .source import Source
from .upscale import upscale_video

__all__ = [
    "AudioInfo",
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
