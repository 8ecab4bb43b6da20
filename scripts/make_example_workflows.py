#!/usr/bin/env python
"""Makes example_workflows/*.json and subgraphs/*.json, in the form in which ComfyUI's frontend saves graphs.

python scripts/make_example_workflows.py

With --print it writes nothing but standard output. The pictures beside the workflows are parts of screenshots, made by hand after a run.
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
"""Inputs and outputs that can be connected, each with its type, by type of node; of those that all hosts have."""

OWN = dict.fromkeys(("LoadSPANModel", "SPANUpscale"), "span-upscale")
"""The pack that a node is from, by which hosts find what is missing; others are the host's own."""


@dataclass
class Node:
    """A node of a graph.

    Args:
        kind: its type.
        at: left and top, in pixels of the canvas.
        size: width and height.
        widgets: their values, in the order of the widgets; those that are left out at the end have their defaults.
        inputs: by name, the number of the node, counted from 1, and of its output, counted from 0, that each comes from.
        title: if it is not that of its type.
        models: what the host offers to download, if it is missing.
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
        """The types of its inputs and of its outputs, by their names."""
        inputs, outputs = (dict(socket.split(":") for socket in sockets.split()) for sockets in SOCKETS[self.kind])
        return inputs, outputs


def note(text: str, height: int) -> Node:
    return Node("MarkdownNote", (0, 0), (340, height), [text.strip()], title="About this workflow")


def load_image(at: tuple[int, int] = (0, 0)) -> Node:
    return Node("LoadImage", at, (300, 340), ["example.png", "image"])


def load_model(at: tuple[int, int], name: str = "spanx4_ch52") -> Node:
    # Not ch48, which breaks up at some of the hard edges of the host's example.png.
    return Node("LoadSPANModel", at, (300, 110), [name, "auto"])


def upscale(at: tuple[int, int], model: int, image: tuple[int, int] | None, *, seamless: str = "off") -> Node:
    return Node(
        "SPANUpscale",
        at,
        (300, 480),
        [0, "auto", False, "resize", seamless, False, "model scale"],
        {"upscale_model": (model, 0)} | ({"image": image} if image else {}),
    )


def save(at: tuple[int, int], image: int, prefix: str) -> Node:
    return Node("SaveImage", at, (360, 400), [prefix], {"images": (image, 0)})


def serialised(nodes: list[Node]) -> tuple[list[dict[str, Any]], list[list[Any]]]:
    """The nodes and the links of a graph, as the frontend writes them."""
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
The picture comes out four times as wide and as high.

- **Load SPAN Model** offers the networks that come with the pack, for x2 and x4, and your own files in `models/upscale_models`.
- **size** of *SPAN Upscale* takes any other size: a factor, a side, a width and height, or megapixels.
- The advanced inputs have to do with memory, precision, transparency, textures and best quality; their defaults will do.

Every node has a help page: choose *Node Info* above a node that is selected.
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
A picture of 512x512 is made, and comes out at 2048x2048: *SPAN Upscale* follows *VAE Decode*.

If you do not have the checkpoint, ComfyUI offers to download it to `models/checkpoints`; or choose any other of yours:

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
A texture that repeats itself still does so when it is larger: **seamless** of *SPAN Upscale*, among its advanced inputs, is `xy`. For one \
that repeats itself only from left to right, take `x`; from top to bottom, `y`.

The texture here is the example and its mirror images. If you have one of your own, connect it to *SPAN Upscale* instead. On the right the \
result lies beside itself; there is no seam between the pieces.
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
        Node("PreviewImage", (2120, 0), (480, 300), [], {"images": (10, 0)}, title="The result beside itself"),
        note(about, 300),
    )


def transparent() -> dict[str, Any]:
    about = """
*Load Image* gives transparency apart from the picture, as a mask that is white where the picture is **transparent**. *Join Image with \
Alpha* takes just such a mask, and turns it round itself: connect it as it is, without *Invert Mask*. *SPAN Upscale* then keeps the \
transparency, and *Save Image* writes it.

The example has no transparency. So its sky is made transparent here, and added to the mask of *Load Image*; with a picture of your own, \
the two nodes at the bottom change nothing, unless it has the very same blue.

**alpha**, among the advanced inputs, takes a colour behind the picture instead, or has the model upscale the transparency too.
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
A batch is upscaled frame by frame, however many there are: memory is taken for the result and for what one frame needs. It is then made \
into a video.

The frames here are the example and its mirror image, in turn. For a video of your own, put *Load Video* and *Get Video Components* in \
their place, and connect **audio** and **fps** of the latter to *Create Video*.
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
Move the pointer over *Compare Images*: on one side is what a bicubic filter makes of a small picture, on the other what SPAN does.

The example is made small first, so that there is something to see; leave *Upscale Image* out for a small picture of your own.

*Compare Images* shows its pictures with Nodes 2.0, which is switched on in ComfyUI's menu. Older versions, such as 0.3.64, do not have \
it: delete it there, and look at the two pictures below.
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
"""By the names that the template browser shows."""

BLUEPRINT = "Upscale Image (SPAN)"


def blueprint() -> dict[str, Any]:
    """A subgraph of the loader and the upscaler, as one node: an image in, an image out, and the widgets to choose a model and a size."""
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
        "description": "Upscales an image, or a batch of images, with a network of the SPAN family. Sizes other than the model's own are "
        "twice, 2048 pixels a side, 1920x1080 or 4 megapixels; for any others, take the nodes that are in it.",
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
    """What the files hold, by their paths from the root."""
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
