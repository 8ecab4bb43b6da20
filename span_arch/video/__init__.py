"""Videos: a file to another, frame by frame, with all else that is in it.

    from span_arch.video import copy_video, probe

Needs PyAV, which is an extra of the library; ComfyUI has it.
"""

from .codecs import VideoSettings
from .compose import compose
from .concat import join_segments
from .one_pass import upscale_video
from .probe import AudioInfo, VideoInfo, probe
from .resumable import upscale_video_resumably
from .segments import Segment, plan_segments, write_segment
from .source import Source
from .transcode import Transform, VideoReport, copy_video

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
