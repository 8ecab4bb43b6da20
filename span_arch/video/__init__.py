"""Videos: a file to another, frame by frame, with all else that is in it.

    from span_arch.video import copy_video, probe

Needs PyAV, which is an extra of the library; ComfyUI has it.
"""

from .compose import compose
from .copy import Transform, VideoReport, copy_video
from .probe import AudioInfo, VideoInfo, probe
from .settings import VideoSettings
from .source import Source
from .upscale import upscale_video

__all__ = [
    "AudioInfo",
    "Source",
    "Transform",
    "VideoInfo",
    "VideoReport",
    "VideoSettings",
    "compose",
    "copy_video",
    "probe",
    "upscale_video",
]
