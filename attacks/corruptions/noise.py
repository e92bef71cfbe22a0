"""Noise corruptions: Gaussian, shot and impulse noise.

Source: Hendrycks & Dietterich, ICLR 2019, and the generators of ImageNet-C, Tiny ImageNet-C and
CIFAR-C that its authors published; every strength below is theirs.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from attacks.corruptions.arithmetic import eight_bits, unit
from attacks.corruptions.corruption import Corruption, Shape
from attacks.corruptions.poisson import poisson_counts
from attacks.draws import Stream, normal, words

_BITS = 12  # of a word that the guide of shot noise looks at
_UNSURE = -1


class Normals(NamedTuple):
    """Standard normal values, (N, C, H, W)."""

    normals: Tensor


class Words(NamedTuple):
    """Uniform words, int32 (N, C, H, W)."""

    words: Tensor


class Impulses(NamedTuple):
    """Which values are replaced, and which of those by white, not black: bool (N, C, H, W)."""

    replaced: Tensor
    salt: Tensor


def draw_normals(seeds: Tensor, shape: Shape, strength: object) -> Normals:
    """A standard normal value for each value of the images, whatever the strength."""
    return Normals(normal(seeds, shape, stream=Stream.CORRUPTION))


def gaussian_noise(pixels: Tensor, sd: float, draws: Normals, dtype: torch.dtype) -> Tensor:
    """Add normal values of standard deviation ``sd``, where white is 1.

    In float32, 5 of a million values are a level off.
    """
    normals = draws.normals.to(dtype)
    if dtype == torch.float64:
        return eight_bits(unit(pixels, dtype).add_(normals * sd).clamp_(0, 1).mul_(255))
    return eight_bits(pixels.to(dtype).add_(normals, alpha=255 * sd))


def shot_noise(pixels: Tensor, rate: float, draws: Words, dtype: torch.dtype) -> Tensor:
    """Count photons, of which white gives ``rate`` on average. In integers, whatever the dtype."""
    # Nearly always, the level and the first bits of the word decide; the others are searched for.
    bins = (draws.words >> (32 - _BITS)).bitwise_and_(2**_BITS - 1)
    bins.add_(pixels.to(torch.int32), alpha=2**_BITS)
    levels = _shot_guide(rate, pixels.device).index_select(0, bins.flatten())
    unsure = (levels == _UNSURE).nonzero()[:, 0]
    counts = poisson_counts(pixels.flatten()[unsure], draws.words.flatten()[unsure], rate)
    levels[unsure] = shot_levels(counts, rate).to(levels.dtype)
    return levels.to(torch.uint8).view(pixels.shape)


def shot_levels(counts: Tensor, rate: float) -> Tensor:
    """The 8-bit levels of photon counts where ``rate`` photons are white."""
    return eight_bits(counts.to(torch.float64).div_(rate).clamp_(0, 1).mul_(255))


@lru_cache(maxsize=8)
def _shot_guide(rate: float, device: torch.device) -> Tensor:
    """The result at each level and each value of a word's first bits; -1 where more bits decide."""
    size = 2 ** (32 - _BITS)
    first = torch.arange(2**_BITS, device=device) * size
    levels = torch.arange(256, device=device)[:, None].expand(-1, 2**_BITS)
    low, high = (
        shot_levels(poisson_counts(levels, bits.to(torch.int32).expand_as(levels), rate), rate)
        for bits in (first, first + (size - 1))
    )
    return torch.where(low == high, low.to(torch.int16), _UNSURE).flatten()


def _draw_shot(seeds: Tensor, shape: Shape, rate: float) -> Words:
    return Words(words(seeds, shape, stream=Stream.CORRUPTION))


def impulse_noise(pixels: Tensor, share: float, draws: Impulses, dtype: torch.dtype) -> Tensor:
    """Replace values, each channel on its own, by white or black. Whatever the dtype."""
    # Bytes of ones and zeros in place of choices: quicker by far than torch.where on a CPU.
    kept = draws.replaced.view(torch.uint8) - 1
    white = (draws.replaced & draws.salt).view(torch.uint8).neg_()
    return kept.bitwise_and_(pixels).bitwise_or_(white)


def _draw_impulses(seeds: Tensor, shape: Shape, share: float) -> Impulses:
    drawn = words(seeds, shape, stream=Stream.CORRUPTION)
    half, least = round(share * 2**31), -(2**31)
    return Impulses(_below(drawn, least + 2 * half), _below(drawn, least + half))


def _below(values: Tensor, bound: int) -> Tensor:
    """``values < bound``, by way of integers: quicker than straight to bool on a CPU."""
    return torch.lt(values, bound, out=torch.empty_like(values)).to(torch.bool)


CORRUPTIONS: tuple[Corruption, ...] = (
    Corruption(
        "gaussian_noise",
        "noise",
        {  # standard deviation
            224: (0.08, 0.12, 0.18, 0.26, 0.38),
            64: (0.04, 0.08, 0.12, 0.15, 0.18),
            32: (0.04, 0.06, 0.08, 0.09, 0.10),
        },
        gaussian_noise,
        draw_normals,
    ),
    Corruption(
        "shot_noise",
        "noise",
        {  # photons of a white value
            224: (60.0, 25.0, 12.0, 5.0, 3.0),
            64: (250.0, 100.0, 50.0, 30.0, 15.0),
            32: (500.0, 250.0, 100.0, 75.0, 50.0),
        },
        shot_noise,
        _draw_shot,
    ),
    Corruption(
        "impulse_noise",
        "noise",
        {  # share of the values that are replaced
            224: (0.03, 0.06, 0.09, 0.17, 0.27),
            64: (0.01, 0.02, 0.05, 0.08, 0.14),
            32: (0.01, 0.02, 0.03, 0.05, 0.07),
        },
        impulse_noise,
        _draw_impulses,
    ),
)
