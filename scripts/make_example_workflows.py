#!/usr/bin/env python
"""Write example_workflows/*.json and subgraphs/*.json in the format of ComfyUI's frontend.

python scripts/make_example_workflows.py

With --print the script prints the files and writes none. The .jpg files next to the workflows are crops of screenshots, made by hand.
"""

from __future__ import annotations

import json
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"
ARCHIVE = "https://huggingface.co/Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/"

SOCKETS: dict[str, tuple[str, str]] = {
    "CheckpointLoaderSimple": ("", "MODEL:MODEL CLIP:CLIP VAE:VAE"),
    "CLIPTextEncode": ("clip:CLIP", "CONDITIONING:CONDITIONING"),
    "CreateVideo": ("images:IMAGE audio:AUDIO", "VIDEO:VIDEO"),
    "EmptyLatentImage": ("", "LATENT:LATENT"),
    "ImageBatch": ("image1:IMAGE image2:IMAGE", "IMAGE:IMAGE"),
    "ImageColorToMask": ("image:IMAGE", "MASK:MASK"),
    "ImageCompare": ("image_a:IMAGE image_b:IMAGE", ""),
    "ImageFlip": ("image:IMAGE", "IMAGE:IMAGE"),
    "ImageScale": ("image:IMAGE", "IMAGE:IMAGE"),
    "ImageScaleBy": ("image:IMAGE", "IMAGE:IMAGE"),
    "ImageStitch": ("image1:IMAGE image2:IMAGE", "IMAGE:IMAGE"),
    "JoinImageWithAlpha": ("image:IMAGE alpha:MASK", "IMAGE:IMAGE"),
    "KSampler": ("model:MODEL positive:CONDITIONING negative:CONDITIONING latent_image:LATENT", "LATENT:LATENT"),
    "LoadImage": ("", "IMAGE:IMAGE MASK:MASK"),
    "LoadSPANModel": ("", "upscale_model:UPSCALE_MODEL"),
    "MarkdownNote": ("", ""),
    "MaskComposite": ("destination:MASK source:MASK", "MASK:MASK"),
    "PreviewImage": ("images:IMAGE", ""),
    "RepeatImageBatch": ("image:IMAGE", "IMAGE:IMAGE"),
    "SaveImage": ("images:IMAGE", ""),
    "SaveVideo": ("video:VIDEO", ""),
    "SPANUpscale": ("upscale_model:UPSCALE_MODEL image:IMAGE", "image:IMAGE"),
    "VAEDecode": ("samples:LATENT vae:VAE", "IMAGE:IMAGE"),
}
"""Input and output sockets with their types, by node type. Only nodes that every supported host has, except ImageCompare."""

OWN = dict.fromkeys(("LoadSPANModel", "SPANUpscale"), "span-upscale")
"""The pack of each of our nodes, by which the host finds a missing pack. All other nodes are the host's own."""


@dataclass
class Node:
    """A node of a graph.

    Args:
        kind: node type.
        at: left and top, in canvas pixels.
        size: width and height, in canvas pixels.
        widgets: widget values in order. Values omitted at the end have their defaults.
        inputs: the source of each connected input, as the number of a node (from 1) and of its output (from 0).
        title: title, if it differs from the default of the type.
        models: model files that the host offers to download if they are missing.
    """

    kind: str
    at: tuple[int, int]
    size: tuple[int, int]
    widgets: list[Any] = field(default_factory=list)
    inputs: dict[str, tuple[int, int]] = field(default_factory=dict)
    title: str = ""
    models: list[dict[str, str]] = field(default_factory=list)

    @property
    def sockets(self) -> tuple[dict[str, str], dict[str, str]]:
        """The types of the inputs and of the outputs, by name."""
        inputs, outputs = (dict(socket.split(":") for socket in sockets.split()) for sockets in SOCKETS[self.kind])
        return inputs, outputs


def note(text: str, height: int) -> Node:
    return Node("MarkdownNote", (0, 0), (340, height), [text.strip()], title="About this workflow")


def load_image(at: tuple[int, int] = (0, 0)) -> Node:
    return Node("LoadImage", at, (300, 340), ["example.png", "image"])


def load_model(at: tuple[int, int], name: str = "spanx4_ch52") -> Node:
    # ch48 leaves speckles at some hard edges of the host's example.png.
    return Node("LoadSPANModel", at, (300, 110), [name, "auto"])


def upscale(at: tuple[int, int], model: int, image: tuple[int, int] | None, *, seamless: str = "off") -> Node:
    return Node(
        "SPANUpscale",
        at,
        (300, 480),
        ["model scale", 0, "auto", False, "resize", seamless, False],
        {"upscale_model": (model, 0)} | ({"image": image} if image else {}),
    )


def save(at: tuple[int, int], image: int, prefix: str) -> Node:
    return Node("SaveImage", at, (360, 400), [prefix], {"images": (image, 0)})


def serialised(nodes: list[Node]) -> tuple[list[dict[str, Any]], list[list[Any]]]:
    """Return the nodes and the links of a graph in the format of the frontend."""
    links: list[list[Any]] = []
    for number, node in enumerate(nodes, 1):
        kinds, names = node.sockets[0], list(node.sockets[0])
        links += [[*source, number, names.index(name), kinds[name]] for name, source in node.inputs.items()]
    links = [[i, *link] for i, link in enumerate(links, 1)]
    return [_serialised(number, node, links) for number, node in enumerate(nodes, 1)], links


def _serialised(number: int, node: Node, links: list[list[Any]]) -> dict[str, Any]:
    inputs, outputs = node.sockets
    ends = {tuple(link[3:5]): link[0] for link in links}
    return {
        "id": number,
        "type": node.kind,
        "pos": list(node.at),
        "size": list(node.size),
        "flags": {},
        "order": number - 1,
        "mode": 0,
        "inputs": [{"name": name, "type": kind, "link": ends.get((number, i))} for i, (name, kind) in enumerate(inputs.items())],
        "outputs": [
            {"name": name, "type": kind, "links": [link[0] for link in links if link[1:3] == [number, i]]}
            for i, (name, kind) in enumerate(outputs.items())
        ],
        **({"title": node.title} if node.title else {}),
        "properties": {
            "Node name for S&R": node.kind,
            "cnr_id": OWN.get(node.kind, "comfy-core"),
            **({"models": node.models} if node.models else {}),
        },
        "widgets_values": node.widgets,
    }


def workflow(*nodes: Node) -> dict[str, Any]:
    boxes, links = serialised(list(nodes))
    return {
        "last_node_id": len(boxes),
        "last_link_id": len(links),
        "nodes": boxes,
        "links": links,
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def image() -> dict[str, Any]:
    about = """
This workflow makes an image four times as wide and four times as high.

- **Load SPAN Model** lists the built-in networks (x2 and x4) and your own files in `models/upscale_models`.
- **size** of *SPAN Upscale* sets any other size: a factor, a side, a width and height, or megapixels.
- The advanced inputs control memory, precision, transparency and textures. You can leave them as they are.

Every node has a help page: select the node and click *Node Info*.
"""
    return workflow(
        load_image((380, 0)),
        load_model((380, 400)),
        upscale((720, 0), 2, (1, 0)),
        save((1060, 0), 3, "SPAN"),
        note(about, 300),
    )


def after_diffusion() -> dict[str, Any]:
    about = f"""
This workflow generates an image of 512x512 pixels and upscales it to 2048x2048. *SPAN Upscale* comes right after *VAE Decode*.

If the checkpoint is missing, ComfyUI offers to download it to `models/checkpoints`. You can also choose another checkpoint.

[{CHECKPOINT}]({ARCHIVE}{CHECKPOINT})
"""
    models = [{"name": CHECKPOINT, "url": ARCHIVE + CHECKPOINT, "directory": "checkpoints"}]
    return workflow(
        Node("CheckpointLoaderSimple", (380, 0), (320, 120), [CHECKPOINT], models=models),
        Node("EmptyLatentImage", (380, 180), (320, 130), [512, 512, 1]),
        Node("CLIPTextEncode", (740, 0), (400, 140), ["a fox in autumn leaves, morning light, detailed fur, photograph"], {"clip": (1, 1)}),
        Node("CLIPTextEncode", (740, 200), (400, 110), ["blurry, text, watermark"], {"clip": (1, 1)}),
        Node(
            "KSampler",
            (1180, 0),
            (300, 280),
            [42, "fixed", 20, 7, "euler", "normal", 1],
            {"model": (1, 0), "positive": (3, 0), "negative": (4, 0), "latent_image": (2, 0)},
        ),
        Node("VAEDecode", (1520, 0), (300, 60), [], {"samples": (5, 0), "vae": (1, 2)}),
        load_model((1180, 340)),
        upscale((1520, 120), 7, (6, 0)),
        save((1860, 0), 8, "SPAN"),
        note(about, 260),
    )


def seamless() -> dict[str, Any]:
    about = """
This workflow upscales a repeating texture, and the result still repeats without a seam. The advanced input **seamless** of *SPAN \
Upscale* is set to `xy`. Use `x` for a texture that repeats from left to right only, and `y` for one that repeats from top to bottom only.

The texture here is built from the example image and its mirror images. Connect your own texture to *SPAN Upscale* instead. The preview on \
the right shows two copies of the result side by side.
"""
    mirrored, flipped = ["y-axis: horizontally"], ["x-axis: vertically"]
    right, down = ["right", True, 0, "white"], ["down", True, 0, "white"]
    return workflow(
        load_image((380, 0)),
        Node("ImageScale", (720, 0), (280, 170), ["area", 128, 128, "disabled"], {"image": (1, 0)}),
        Node("ImageFlip", (720, 230), (280, 80), mirrored, {"image": (2, 0)}),
        Node("ImageStitch", (720, 370), (280, 190), right, {"image1": (2, 0), "image2": (3, 0)}),
        Node("ImageFlip", (1040, 230), (280, 80), flipped, {"image": (4, 0)}),
        Node("ImageStitch", (1040, 370), (280, 190), down, {"image1": (4, 0), "image2": (5, 0)}),
        load_model((1040, 0)),
        upscale((1380, 0), 7, (6, 0), seamless="xy"),
        save((1720, 0), 8, "SPAN_texture"),
        Node("ImageStitch", (1720, 460), (280, 190), right, {"image1": (8, 0), "image2": (8, 0)}),
        Node("PreviewImage", (2120, 0), (480, 300), [], {"images": (10, 0)}, title="Two copies side by side"),
        note(about, 300),
    )


def transparent() -> dict[str, Any]:
    about = """
*Load Image* puts transparency into a separate mask, which is white where the image is **transparent**. *Join Image with Alpha* expects \
exactly this mask, so *Invert Mask* is not needed. *SPAN Upscale* keeps the transparency, and *Save Image* writes it.

The example image is opaque, so the two nodes at the bottom make its sky transparent. They leave your own image alone, unless it contains \
exactly the same blue.

The advanced input **alpha** can also fill the transparent parts with a colour, or let the model upscale the transparency.
"""
    return workflow(
        load_image((380, 0)),
        Node("ImageColorToMask", (380, 400), (300, 80), [0x5E94FF], {"image": (1, 0)}, title="The example's sky"),
        Node("MaskComposite", (720, 400), (300, 150), [0, 0, "add"], {"destination": (2, 0), "source": (1, 1)}),
        Node("JoinImageWithAlpha", (720, 0), (300, 60), [], {"image": (1, 0), "alpha": (3, 0)}),
        load_model((720, 120), "spanx2_ch52"),
        upscale((1060, 0), 5, (4, 0)),
        save((1400, 0), 6, "SPAN_transparent"),
        note(about, 360),
    )


def frames() -> dict[str, Any]:
    about = """
This workflow upscales a batch of frames and turns it into a video. *SPAN Upscale* works frame by frame, so besides the result it needs \
memory for one frame only.

The frames here alternate between the example image and its mirror image. To use your own video, replace them with *Load Video* and *Get \
Video Components*, and connect **audio** and **fps** of the latter to *Create Video*. For long videos, use *SPAN Upscale Video*.
"""
    return workflow(
        load_image((380, 0)),
        Node("ImageScale", (720, 0), (280, 170), ["area", 256, 256, "disabled"], {"image": (1, 0)}),
        Node("ImageFlip", (720, 230), (280, 80), ["y-axis: horizontally"], {"image": (2, 0)}),
        Node("ImageBatch", (720, 370), (280, 60), [], {"image1": (2, 0), "image2": (3, 0)}),
        Node("RepeatImageBatch", (1040, 0), (300, 80), [3], {"image": (4, 0)}),
        load_model((1040, 140), "spanx2_ch52"),
        upscale((1380, 0), 6, (5, 0)),
        Node("CreateVideo", (1720, 0), (300, 110), [2], {"images": (7, 0)}),
        Node("SaveVideo", (1720, 170), (360, 420), ["video/SPAN", "auto", "auto"], {"video": (8, 0)}),
        note(about, 260),
    )


def before_and_after() -> dict[str, Any]:
    about = """
Move the pointer over *Compare Images*: one side shows a small image enlarged by a bicubic filter, the other side the same image upscaled \
by SPAN.

*Upscale Image* shrinks the example first, so that the difference is visible. Remove it if your own image is small.

*Compare Images* needs Nodes 2.0, which you switch on in ComfyUI's menu. Older versions of ComfyUI, such as 0.3.64, do not have this node: \
delete it and compare the two previews below it.
"""
    return workflow(
        load_image((380, 0)),
        Node("ImageScale", (720, 0), (280, 170), ["area", 192, 192, "disabled"], {"image": (1, 0)}),
        load_model((720, 230)),
        Node("ImageScaleBy", (1040, 0), (300, 110), ["bicubic", 4], {"image": (2, 0)}),
        upscale((1040, 170), 3, (2, 0)),
        Node("ImageCompare", (1380, 0), (620, 620), [], {"image_a": (4, 0), "image_b": (5, 0)}),
        Node("PreviewImage", (1380, 680), (300, 340), [], {"images": (4, 0)}, title="Bicubic"),
        Node("PreviewImage", (1700, 680), (300, 340), [], {"images": (5, 0)}, title="SPAN"),
        note(about, 340),
    )


WORKFLOWS = {
    "Upscale an image": image,
    "Upscale after diffusion": after_diffusion,
    "Seamless texture": seamless,
    "Transparent PNG": transparent,
    "Frames to video": frames,
    "Before and after": before_and_after,
}
"""The workflows, by the names that the template browser shows."""

BLUEPRINT = "Upscale Image (SPAN)"


def blueprint() -> dict[str, Any]:
    """Return a subgraph of loader and upscaler: one image in, one image out, and two widgets for the model and the size."""
    inside, links = serialised([load_model((0, 0)), upscale((360, 0), 1, None)])
    kind = str(uuid.uuid5(uuid.NAMESPACE_URL, f"span-upscale/{BLUEPRINT}"))
    entry, leave = len(links) + 1, len(links) + 2
    inside[1]["inputs"][1]["link"], inside[1]["outputs"][0]["links"] = entry, [leave]
    links += [[entry, -10, 0, 2, 1, "IMAGE"], [leave, 2, 0, -20, 0, "IMAGE"]]

    def end(name: str, link: int, at: tuple[int, int]) -> dict[str, Any]:
        return {"id": str(uuid.uuid5(uuid.UUID(kind), name)), "name": "image", "type": "IMAGE", "linkIds": [link], "pos": list(at)}

    keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    outside = {
        "id": 1,
        "type": kind,
        "pos": [0, 0],
        "size": [300, 120],
        "flags": {},
        "order": 0,
        "mode": 0,
        "inputs": [{"name": "image", "type": "IMAGE", "link": None}],
        "outputs": [{"name": "image", "type": "IMAGE", "links": []}],
        "title": BLUEPRINT,
        "properties": {"proxyWidgets": [["1", "model_name"], ["2", "size"]], "cnr_id": "span-upscale"},
        "widgets_values": [],
    }
    subgraph = {
        "id": kind,
        "version": 1,
        "state": {"lastGroupId": 0, "lastNodeId": len(inside), "lastLinkId": len(links), "lastRerouteId": 0},
        "revision": 0,
        "config": {},
        "name": BLUEPRINT,
        "inputNode": {"id": -10, "bounding": [-180, 100, 120, 60]},
        "outputNode": {"id": -20, "bounding": [720, 100, 120, 60]},
        "inputs": [end("input", entry, (-80, 120))],
        "outputs": [end("output", leave, (740, 120))],
        "widgets": [],
        "nodes": inside,
        "groups": [],
        "links": [dict(zip(keys, link, strict=True)) for link in links],
        "extra": {},
        "category": "Image Tools/Upscale",
        "description": "Upscale an image or a batch with a network of the SPAN family. Open the subgraph to change the other inputs.",
    }
    return {
        "revision": 0,
        "last_node_id": 1,
        "last_link_id": 0,
        "nodes": [outside],
        "links": [],
        "version": 0.4,
        "definitions": {"subgraphs": [subgraph]},
    }


def files() -> dict[str, str]:
    """Return the text of each file by its path from the root."""
    graphs = {f"example_workflows/{name}.json": make() for name, make in WORKFLOWS.items()} | {f"subgraphs/{BLUEPRINT}.json": blueprint()}
    return {path: json.dumps(graph, indent=1) + "\n" for path, graph in graphs.items()}


def main() -> None:
    if sys.argv[1:] == ["--print"]:
        print(json.dumps(files()))
        return
    for path, text in files().items():
        (ROOT / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
