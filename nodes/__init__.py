"""The ComfyUI nodes, in the order in which a graph uses them."""

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
        """Return the nodes, and let every loader that uses spandrel, such as the host's own, open the SPAN family."""
        register()  # not in on_load, which 0.3.64 never calls
        return NODES
