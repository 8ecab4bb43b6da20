"""Pixel formats."""

from __future__ import annotations

from span_arch.video.pixel_formats import closest

from .films import layout_named


def test_the_closest_layout_keeps_most_and_wastes_least() -> None:
    offered = [layout_named(name) for name in ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv444p10le", "yuva444p10le", "gbrp")]
    for wanted, expected in {
        "yuv420p": "yuv420p", "yuv420p9le": "yuv420p10le", "yuv422p10le": "yuv444p10le", "yuv440p": "yuv444p", "gbrp": "gbrp",
        "gbrp12le": "yuv444p10le", "yuva420p": "yuva444p10le", "gray": "yuv420p", "yuv420p12le": "yuv420p10le",
    }.items():  # fmt: skip
        assert closest(layout_named(wanted), offered).name == expected, wanted
