"""The nodes, in the order in which a graph needs them."""

from comfy_api.latest import ComfyExtension, io

from .load_model import LoadSPANModel
from .upscale import SPANUpscale

NODES: list[type[io.ComfyNode]] = [LoadSPANModel, SPANUpscale]


class SPANExtension(ComfyExtension):
    """The pack, as ComfyUI sees it."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes of the pack."""
        return NODES
