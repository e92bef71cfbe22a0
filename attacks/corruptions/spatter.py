"""Spatter: drops of water or blots of mud on the lens."""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.corruptions.arithmetic import eight_bits
from attacks.corruptions.corruption import Shape
from attacks.corruptions.edges import box_sums, canny, chamfer, equalised, framed
from attacks.corruptions.filters import gaussian
from attacks.draws import Stream, normal


class Water(NamedTuple):
    """Drops: blurred normal noise above a threshold, lit along their edges.

    Attributes:
        mean: of the noise.
        sd: of the noise.
        blur: standard deviation of its blur, in pixels.
        threshold: what is above it is wet.
        opacity: of the brightest drop.
    """

    mean: float
    sd: float
    blur: float
    threshold: float
    opacity: float


class Mud(NamedTuple):
    """Blots: blurred normal noise above a threshold, its outline blurred again.

    Attributes:
        mean: of the noise.
        sd: of the noise.
        blur: standard deviation of its blur, in pixels.
        threshold: what is above it is covered.
        outline: standard deviation of the blur of the blots, in pixels.
    """

    mean: float
    sd: float
    blur: float
    threshold: float
    outline: float


class SpatterDraws(NamedTuple):
    """The noise that drops are made of: (N, 1, H, W), of the mean and deviation asked for."""

    layer: Tensor


WATER_COLOUR = {3: (175, 238, 238), 1: (219,)}
MUD_COLOUR = {3: (63, 42, 20), 1: (46,)}
"""By number of channels: a grey image takes the luminance."""


def draw_spatter(seeds: Tensor, shape: Shape, strength: Water | Mud) -> SpatterDraws:
    """One noise layer for each image, whatever its channels."""
    noise = normal(seeds, (1, *shape[1:]), stream=Stream.CORRUPTION)
    return SpatterDraws(noise.mul_(strength.sd).add_(strength.mean))


def spatter(
    pixels: Tensor, strength: Water | Mud, draws: SpatterDraws, dtype: torch.dtype
) -> Tensor:
    """Spatter of either kind; the images themselves are float32 here as published."""
    layer = gaussian(draws.layer.to(dtype), strength.blur)
    mixed = pixels.to(torch.float32).div_(255)
    if isinstance(strength, Water):
        film = _film(layer, strength)
        mixed.addcmul_(film, _colour(WATER_COLOUR[pixels.shape[1]], pixels.device))
    else:
        cover = _cover(layer, strength)
        mixed.mul_(1 - cover).addcmul_(cover, _colour(MUD_COLOUR[pixels.shape[1]], pixels.device))
    return eight_bits(mixed.mul_(255))


def _film(layer: Tensor, strength: Water) -> Tensor:
    """How much of the colour of water is added: float32 (N, 1, H, W)."""
    wet = F.threshold(layer, math.nextafter(strength.threshold, 0), 0).mul_(255)
    # A value above 1 wraps around, as published.
    levels = (wet.to(torch.int16) & 255).squeeze(1).permute(1, 2, 0).contiguous()
    film = sheen(canny(levels)).mul_(levels)
    brightest = film.amax(dim=(0, 1)).clamp_(min=1)  # of a dry layer: nothing is to be divided
    return film.div_(brightest).mul_(strength.opacity).permute(2, 0, 1).unsqueeze(1)


def _cover(layer: Tensor, strength: Mud) -> Tensor:
    """How much of an image is mud: float32 (N, 1, H, W)."""
    blots = gaussian((layer > strength.threshold).to(layer.dtype), strength.outline)
    return blots.masked_fill_(blots < 0.8, 0).to(torch.float32)


@lru_cache(maxsize=8)
def _colour(levels: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(levels, dtype=torch.float32, device=device).div_(255).reshape(-1, 1, 1)


def sheen(edges: Tensor) -> Tensor:
    """How bright water is by the distance to its edges: whole float32 (H, W, N), 0 to 255.

    Args:
        edges: bool (H, W, N).
    """
    means = box_sums(framed(chamfer(edges), 1).to(torch.float64)).mul_(1 / 9)
    # The mean is float32 before it is cut: some are a whole number only then.
    around = framed(equalised(means.to(torch.float32).to(torch.int32)), 1)
    above, same, below = around[:-2], around[1:-1], around[2:]
    middle = slice(1, -1)
    lit = same[:, middle] + same[:, 2:]
    lit -= same[:, :-2]
    lit += below[:, middle]
    lit -= above[:, middle]
    lit.add_(below[:, 2:], alpha=2).sub_(above[:, :-2], alpha=2)
    means = box_sums(framed(lit.clamp_(0, 255), 1)).to(torch.float32)
    return means.div_(9).round_()
