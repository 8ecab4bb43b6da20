"""Row streaming: the result for the whole image, computed strip by strip, with nothing computed twice.

`plan_network` reads a network's forward pass and decides how it runs in strips. `narrowed` decides which parts run in a narrower type.
`Stream` runs the plan.
"""

from .layout import Layout, lay_out
from .plan import Plan, narrowed, plan_network
from .stream import Stream
from .weights import Weights, gather_weights

__all__ = ["Layout", "Plan", "Stream", "Weights", "gather_weights", "lay_out", "narrowed", "plan_network"]
