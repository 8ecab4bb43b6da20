"""Videos: a file to another, frame by frame, with all else that is in it.

    from span_arch.video import copy_video, probe

Needs PyAV, which is an extra of the library; ComfyUI has it.
"""

from .copy import Transform, VideoReport, copy_video
from .probe import AudioInfo, VideoInfo, probe
from .settings import VideoSettings

__all__ = ["AudioInfo", "Transform", "VideoInfo", "VideoReport", "VideoSettings", "copy_video", "probe"]
