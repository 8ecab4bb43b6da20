"""The entry point for ComfyUI. The library is `span_arch`; the nodes are in `nodes`."""

WEB_DIRECTORY = "./js"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]


async def comfy_entrypoint():
    """Return the extension with the nodes. Only this call imports the host, so tools and tests need none."""
    from .nodes import SPANExtension

    return SPANExtension()
