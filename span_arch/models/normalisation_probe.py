"""Measure which normalisation a network was trained with.

Files rarely state it, and their keys do not show it. But a super-resolution network reproduces its image, enlarged, only if the image is
normalised as in training. Evenly coloured images already show this, and they cost next to nothing: far from the border, each convolution is
a matrix product with the sum of its taps.

With a wrong mean, a network sees the image shifted, and so gives it shifted. With a wrong range it sees, and gives, another contrast. The
shift and the contrast of the result therefore yield the mean and the range that are right: an image of zeros gives the mean itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..archs.normalisation import IDENTITY, KNOWN, Normalisation

Mean = tuple[float, float, float]

_SIDE = 32
_LEVELS = (0.1, 0.3667, 0.6333, 0.9)
_RANGES = (255.0, 1.0)
_STEPS = 6
"""A network that reproduces colours exactly needs two."""

_MIN_PSNR = 20.0
"""Decibels on the test image. All known networks reach 26, and an image of a single colour reaches about 15."""

_MAX_ERROR = 0.08
"""Root mean square over colours. The known network with the worst colours has 0.052, and one that always gives grey has 0.3."""

_EXACT = 0.0005
"""The error of networks that are trained to reproduce their image."""

_MAX_SOLVED_ERROR = 0.003
"""A mean that is solved for is about as wrong as the network's colours."""

_WORSE, _SHIFT = 4.0, 0.015
"""How much worse than the best a more usual normalisation may fit: times, and in error. Networks that change colours need 3.3 and 0.012."""


@dataclass(frozen=True)
class Finding:
    """A normalisation, None for none, and how it is known."""

    normalisation: Normalisation | None
    known: str
    """Says how the normalisation was found."""
    doubtful: bool = False
    """True if the normalisation is a guess."""


def find_normalisation(network: Callable[[], nn.Module], scale: int, mean: Mean | None = None) -> Finding:
    """Return the normalisation with which a network reproduces images: a known one, or else one that is solved for.

    Return a guess if the network does not reproduce images, for example because it is untrained.

    Args:
        network: builds the network, for images of three channels, without a normalisation.
        scale: the network's scale.
        mean: the mean if it is known, so that only the range is measured.
    """
    respond = _colour_response(network())
    settings = KNOWN if mean is None else tuple(Normalisation(mean, span) for span in _RANGES)
    known, error = _best_known(respond, settings)
    chosen = _simplest(respond, known, mean)
    chosen_error, psnr = _error(respond, chosen), _reproduction_psnr(network(), chosen, scale)
    fits = chosen_error <= _MAX_ERROR and psnr >= _MIN_PSNR
    quality = f"with it, the network reproduces a test image to {psnr:.0f} dB"
    stated = "" if mean is None else "the file has the key 'mean'; range "
    if fits and chosen == known:
        return Finding(_or_none(chosen), f"{stated}measured: {quality}")
    if fits:
        return Finding(_or_none(chosen), f"{stated}solved: no known one fits; {quality}", doubtful=chosen_error > _MAX_SOLVED_ERROR)
    guess = known if error <= 2 * _MAX_ERROR else settings[0]
    return Finding(_or_none(guess), f"{stated}assumed: the network does not reproduce a test image with any", doubtful=True)


def _colour_response(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a function from normalised colours (N, 3) to the mean colours (N, 3) of the network's results for even images of them.

    The network is changed.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.weight = nn.Parameter(module.weight.sum((2, 3), keepdim=True), requires_grad=False)
            module.padding = (0, 0)
    network.double()  # low contrasts are differences of nearly equal numbers
    return lambda colours: network(colours[:, :, None, None])[:, :3].mean((2, 3)).expand(-1, 3)  # a grey result is one channel


def _colours() -> Tensor:
    levels = torch.tensor(_LEVELS, dtype=torch.double)
    return torch.cartesian_prod(levels, levels, levels)


def _error(respond: Callable[[Tensor], Tensor], normalisation: Normalisation) -> float:
    """Return the root mean square error of a network's colours; infinite if a result is not finite."""
    colours = _colours()
    shifted = (colours - torch.tensor(normalisation.mean)) * normalisation.range
    error = float((respond(shifted) - colours).square().mean().sqrt())
    return error if math.isfinite(error) else math.inf


def _best_known(respond: Callable[[Tensor], Tensor], settings: tuple[Normalisation, ...]) -> tuple[Normalisation, float]:
    """Return the setting with the least error, or the first of those that have nearly the least, and its error."""
    errors = [_error(respond, setting) for setting in settings]
    best = next(i for i, error in enumerate(errors) if error <= 1.05 * min(errors))
    return settings[best], errors[best]


def _simplest(respond: Callable[[Tensor], Tensor], known: Normalisation, mean: Mean | None) -> Normalisation:
    """Return the first normalisation that fits about as well as the best: a known one, a known range with any mean, or any."""
    solved = _solve(respond, mean)
    spans = [span for span in _RANGES if mean is None and 0.9 < solved.range / span < 1.1]
    candidates = [known, *(_solve(respond, None, span) for span in spans), solved]
    errors = [_error(respond, candidate) for candidate in candidates]
    limit = min(_WORSE * min(errors), min(errors) + _SHIFT) + _EXACT
    return next(one for one, error in zip(candidates, errors, strict=True) if error <= limit)


def _solve(respond: Callable[[Tensor], Tensor], mean: Mean | None = None, span: float | None = None) -> Normalisation:
    """Return the normalisation with which a network keeps colours on average. A given mean or range stays as it is."""
    colours = _colours()
    spread = colours - colours.mean(0)
    centre = respond(torch.zeros(1, 3, dtype=torch.double))[0] if mean is None else torch.tensor(mean, dtype=torch.double)
    width = 0.01 if span is None else span  # a contrast so low that no network explodes
    for _ in range(_STEPS):
        result = respond((colours - centre) * width)
        gain = float((result * spread).sum() / spread.square().sum())
        if not 0 < gain < math.inf:
            break
        if mean is None and 0.7 < gain < 1.3:
            centre = centre + (result - colours).mean(0)
        if span is None:
            width /= gain
    red, green, blue = (round(float(value), 4) + 0.0 for value in centre)
    return Normalisation((red, green, blue), float(f"{width:.4g}"))


def _reproduction_psnr(network: nn.Module, normalisation: Normalisation, scale: int) -> float:
    """Return the PSNR in decibels of the network's result, scaled down, against the test image."""
    image = probe_image()
    result = network((image - torch.tensor(normalisation.mean).view(1, 3, 1, 1)) * normalisation.range)[:, :3]
    error = float((F.avg_pool2d(result, scale) - image).square().mean())
    return -10 * math.log10(max(error, 1e-10)) if math.isfinite(error) else -math.inf


def _or_none(normalisation: Normalisation) -> Normalisation | None:
    return None if normalisation == IDENTITY else normalisation


def probe_image(channels: int = 3) -> Tensor:
    """Return a test image (1, channels, 32, 32) in 0..1 with colour gradients, an orange disc and a dark line. Channel 4 is alpha."""
    y, x = torch.meshgrid(torch.linspace(0, 1, _SIDE), torch.linspace(0, 1, _SIDE), indexing="ij")
    gradients = torch.stack([0.15 + 0.6 * x * (1 - 0.3 * y), 0.75 - 0.5 * y, 0.25 + 0.35 * torch.sin(3 * (x + y)).abs()])
    disc = (x - 0.55) ** 2 + (y - 0.45) ** 2 < 0.09
    colours = torch.where(disc, torch.tensor([0.6, 0.35, 0.3]).view(3, 1, 1) + 0.3 * gradients, gradients)
    colours[:, :, _SIDE // 8 : _SIDE // 8 + 2] = 0.08
    return torch.cat([colours, x[None]])[None, :channels]
