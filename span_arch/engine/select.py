"""The choice of a runner: strips or tiles, and what goes around them."""

from __future__ import annotations

from functools import partial

from ..image_ops.sizes import Pair
from ..models.build import Model
from . import tile_runner
from .context import Context
from .ensemble import Ensemble
from .precision import arithmetic_for
from .progress import Meter
from .runner import Runner
from .seamless import Wrapped
from .settings import Settings
from .strip_runner import StripRunner
from .tile_runner import TileRunner


def runner_for(model: Model, context: Context, settings: Settings, size: Pair, margins: Pair, meter: Meter) -> Runner:
    """Return the runner for frames of a size that are continued by some margins, ready to run.

    Raises:
        OptionError: the model does not support the precision.
    """
    rows, columns = margins
    size = size[0] + 2 * rows, size[1] + 2 * columns
    choose = partial(_strips_or_tiles, model, context, settings, meter=meter)
    runner: Runner = choose(size)
    if settings.ensemble:
        runner = Ensemble(runner, runner if size[0] == size[1] else choose((size[1], size[0])))
    return Wrapped(runner, rows, columns, model.scale) if rows or columns else runner


def can_stream(model: Model, context: Context, size: Pair) -> bool:
    """Return whether a model can run frames of a size in strips, once they are padded as the network requires."""
    plan, (height, width) = context.probes.plan_for(model), size
    across, down = model.size_requirements.get_padding(width, height)
    return plan is not None and (height + down) % plan.multiple == (width + across) % plan.multiple == 0


def _strips_or_tiles(model: Model, context: Context, settings: Settings, size: Pair, meter: Meter) -> Runner:
    device = context.device_for(model)
    probes = context.probes
    arithmetic = arithmetic_for(settings.precision, model, device, probes.multiplies_bfloat16, probes.is_fast_in_half)
    strips = settings.tile is None and not settings.compiled and can_stream(model, context, size)
    if strips and device.type == "cpu":
        return StripRunner(model, context, arithmetic, size, lambda wanted: context.make_room(wanted, device), meter)
    needed = tile_runner.bytes_for(model, arithmetic.dtype, size)
    free = context.make_room(needed, device)
    if strips and needed > free:
        return StripRunner(model, context, arithmetic, size, lambda _: free, meter)
    # On a GPU, strips gain nothing for an image that fits as a whole.
    return TileRunner(model, context, settings, arithmetic, size, free, meter)
