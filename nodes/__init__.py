"""The nodes, in the order in which a graph needs them."""

from comfy_api.latest import ComfyExtension, io

from ..span_arch import register
from .load_model import LoadSPANModel
from .save_model import SaveSPANModel
from .upscale import SPANUpscale

NODES: list[type[io.ComfyNode]] = [LoadSPANModel, SPANUpscale, SaveSPANModel]


class SPANExtension(ComfyExtension):
    """The pack, as ComfyUI sees it."""

    async def on_load(self) -> None:
        """Teaches the family to the host's own loader, and to every other one that loads through spandrel."""
        register()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """All nodes of the pack."""
        return NODES
