"""The nodes, in the order in which a graph needs them."""

from comfy_api.latest import ComfyExtension, io

from ..span_arch import register
from .load_model import LoadSPANModel
from .model_info import SPANModelInfo
from .save_model import SaveSPANModel
from .upscale_image import SPANUpscale
from .upscale_video import SPANUpscaleVideo

NODES: list[type[io.ComfyNode]] = [LoadSPANModel, SPANUpscale, SPANUpscaleVideo, SPANModelInfo, SaveSPANModel]


class SPANExtension(ComfyExtension):
    """The pack, as ComfyUI sees it."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes of the pack. From then on the host's own loader, and every other that loads through spandrel, knows the family."""
        register()  # here, since 0.3.64 never calls on_load
        return NODES
