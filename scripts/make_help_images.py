#!/usr/bin/env python
"""Write js/docs/images: a graph for each node, and a comparison of a bicubic filter and SPAN.

python scripts/make_help_images.py

The script draws the graphs. The comparison is docs/before_after.png at a smaller size.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "js" / "docs" / "images"
sys.path.insert(0, str(ROOT))
import span_arch  # noqa: E402 - the one in this checkout

ROW, MARGIN, RADIUS = 26, 14, 5
GROUND, BODY, HEAD, CHOSEN, TEXT = "#202020", "#353535", "#484848", "#2f6db5", "#dddddd"
SOCKETS = {"video": "#c86464", "model": "#c8a24a", "image": "#64b5f6", "text": "#8fbf8f"}
"""Socket colours, by a word in the name of the socket."""
FONT, SMALL = ImageFont.load_default(size=15), ImageFont.load_default(size=13)


@dataclass(frozen=True)
class Box:
    """A node of a drawn graph: its place and its content."""

    title: str
    left: int
    top: int
    width: int
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    widgets: tuple[str, ...] = ()
    text: str = ""
    chosen: bool = False

    @property
    def rows(self) -> int:
        return max(len(self.inputs), len(self.outputs)) + len(self.widgets)

    @property
    def bottom(self) -> int:
        return self.top + ROW * (self.rows + 1) + 19 * len(self.text.splitlines()) + MARGIN

    def socket(self, name: str) -> tuple[int, int]:
        names, x = (self.inputs, self.left) if name in self.inputs else (self.outputs, self.left + self.width)
        return x, self.top + ROW * (names.index(name) + 1) + ROW // 2 + 4


def colour(socket: str) -> str:
    return next(colour for kind, colour in SOCKETS.items() if kind in socket)


def load_model(top: int, *, chosen: bool = False) -> Box:
    return Box("Load SPAN Model", 16, top, 210, outputs=("upscale_model",), widgets=("model_name    spanx4_ch52",), chosen=chosen)


def draw(name: str, boxes: list[Box], wires: list[tuple[int, str, int, str]]) -> None:
    """Draw a graph. A wire goes from an output of one box to an input of another."""
    size = max(box.left + box.width for box in boxes) + 16, max(box.bottom for box in boxes) + 16
    canvas = Image.new("RGB", size, GROUND)
    pen = ImageDraw.Draw(canvas)
    for i, (start, output, end, into) in enumerate(wires):
        (x1, y1), (x2, y2) = boxes[start].socket(output), boxes[end].socket(into)
        middle = (x1 + x2) // 2 + 12 * i
        pen.line([(x1, y1), (middle, y1), (middle, y2), (x2, y2)], colour(output), 3, "curve")
    for box in boxes:
        right = box.left + box.width
        pen.rounded_rectangle((box.left, box.top, right, box.bottom), 8, BODY, CHOSEN if box.chosen else HEAD, 2)
        pen.rounded_rectangle((box.left, box.top, right, box.top + ROW), 8, CHOSEN if box.chosen else HEAD)
        pen.text((box.left + 10, box.top + ROW // 2), box.title, TEXT, FONT, "lm")
        for socket in (*box.inputs, *box.outputs):
            x, y = box.socket(socket)
            pen.ellipse((x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS), colour(socket))
            pen.text((x + 12, y) if socket in box.inputs else (x - 12, y), socket, TEXT, SMALL, "lm" if socket in box.inputs else "rm")
        y = box.top + ROW * (box.rows - len(box.widgets) + 1) + 6
        for widget in box.widgets:
            pen.rounded_rectangle((box.left + 10, y, right - 10, y + ROW - 4), 10, GROUND)
            pen.text((box.left + 22, y + ROW // 2 - 2), widget, TEXT, SMALL, "lm")
            y += ROW
        for line in box.text.splitlines():
            pen.text((box.left + 14, y), line, TEXT, SMALL)
            y += 19
    canvas.quantize(48).save(IMAGES / name, optimize=True)


def main() -> None:
    image = Box("Load Image", 16, 16, 210, outputs=("image",))
    upscale = Box("SPAN Upscale", 290, 40, 190, inputs=("upscale_model", "image"), outputs=("image ",))
    save = Box("Save Image", 544, 40, 150, inputs=("images",))
    draw(
        "LoadSPANModel.png",
        [image, load_model(110, chosen=True), upscale, save],
        [(0, "image", 2, "image"), (1, "upscale_model", 2, "upscale_model"), (2, "image ", 3, "images")],
    )
    video = Box("Load Video", 16, 16, 210, outputs=("video",))
    larger = Box(
        "SPAN Upscale Video", 290, 40, 210, inputs=("upscale_model", "video"), outputs=("video ",), widgets=("codec    h264",), chosen=True
    )
    draw(
        "SPANUpscaleVideo.png",
        [video, load_model(110), larger, Box("Save Video", 564, 40, 150, inputs=("video",))],
        [(0, "video", 2, "video"), (1, "upscale_model", 2, "upscale_model"), (2, "video ", 3, "video")],
    )
    wire = [(0, "upscale_model", 1, "upscale_model")]
    facts = "\n".join(" ".join(line.split()) for line in str(span_arch.describe(span_arch.load("spanx4_ch52"))).splitlines()[:9])
    info = Box("SPAN Model Info", 290, 16, 470, inputs=("upscale_model",), outputs=("text",), text=facts, chosen=True)
    draw("SPANModelInfo.png", [load_model(16), info], wire)
    widgets = ("filename_prefix    upscale_models/SPAN", "format    onnx", "dtype    float32")
    writer = Box("Save SPAN Model", 290, 16, 310, inputs=("upscale_model",), widgets=widgets, chosen=True)
    draw("SaveSPANModel.png", [load_model(16), writer], wire)
    with Image.open(ROOT / "docs" / "before_after.png") as file:
        small = file.convert("RGB").resize((file.width * 5 // 8, file.height * 5 // 8), Image.Resampling.LANCZOS)
    small.save(IMAGES / "SPANUpscale.jpg", quality=85, optimize=True)


if __name__ == "__main__":
    main()
