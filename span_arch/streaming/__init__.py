"""Row streaming: the result of the whole image, strip by strip, with nothing computed twice.

`plan` reads a network's plain forward pass and says how it is run in strips, `narrowed` which of it in a narrower type; `Stream` does so.
"""

from .layout import Layout, lay_out
from .plan import Plan, narrowed, plan
from .stream import Stream
from .weights import Weights, weights

__all__ = ["Layout", "Plan", "Stream", "Weights", "lay_out", "narrowed", "plan", "weights"]
