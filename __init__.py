"""The door through which ComfyUI comes in. The library is `span_arch`, the nodes are in `nodes`."""

WEB_DIRECTORY = "./js"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]


async def comfy_entrypoint():
    """What ComfyUI calls to learn of the nodes. Only then is the host imported, so that tools and tests can do without it."""
    from .nodes import SPANExtension

    return SPANExtension()
