"""The extra corruptions, published for validation: speckle noise, Gaussian blur, spatter, saturate.

Source: Hendrycks & Dietterich, ICLR 2019, and the generators of ImageNet-C, Tiny ImageNet-C and
CIFAR-C that its authors published; every strength below is theirs.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from attacks.corruptions.arithmetic import ALLOWANCE, eight_bits, unit
from attacks.corruptions.colour import hsv_to_rgb, largest, rgb_to_hsv, smallest
from attacks.corruptions.corruption import Corruption
from attacks.corruptions.filters import gaussian
from attacks.corruptions.noise import Normals, draw_normals
from attacks.corruptions.spatter import Mud, Water, draw_spatter, spatter


class Saturation(NamedTuple):
    """Saturation times ``factor``, plus ``shift``."""

    factor: float
    shift: float


def speckle_noise(pixels: Tensor, sd: float, draws: Normals, dtype: torch.dtype) -> Tensor:
    """Add to each value a normal share of itself, of standard deviation ``sd``."""
    normals = draws.normals.to(dtype)
    if dtype == torch.float64:
        values = unit(pixels, dtype)
        return eight_bits(values.add_(values * (normals * sd)).clamp_(0, 1).mul_(255))
    values = pixels.to(dtype)
    return eight_bits(values.addcmul_(values, normals, value=sd))


def gaussian_blur(pixels: Tensor, sd: float, draws: None, dtype: torch.dtype) -> Tensor:
    """Blur by a Gaussian of ``sd`` pixels, the border's values going on beyond it."""
    if dtype == torch.float64:
        return eight_bits(gaussian(unit(pixels, dtype), sd).clamp_(0, 1).mul_(255))
    return eight_bits(gaussian(pixels.to(dtype), sd).add_(ALLOWANCE))


def saturate(pixels: Tensor, strength: Saturation, draws: None, dtype: torch.dtype) -> Tensor:
    """Strengthen or weaken the colours; a shift tints grey pixels red, whose hue is 0.

    Grey images have no colours, and stay as they are.
    """
    if pixels.shape[1] == 1:
        return pixels.clone()
    if dtype == torch.float64:
        hsv = rgb_to_hsv(unit(pixels, dtype))
        saturation = hsv.saturation.mul(strength.factor).add_(strength.shift).clamp_(0, 1)
        return eight_bits(hsv_to_rgb(hsv._replace(saturation=saturation)).clamp_(0, 1).mul_(255))
    # Hue and value stay, so each channel's distance to the largest one grows with the saturation,
    # which is at most 1.
    value, low = largest(pixels), smallest(pixels)
    grey = value == low
    value = value.to(dtype)
    limit = value / (value - low).masked_fill_(grey, 1)
    growth = limit.mul(strength.shift).add_(strength.factor).minimum(limit)
    colours = (value - pixels).mul_(growth).neg_().add_(value)
    if strength.shift:
        tint = colours[:, 1:]
        torch.where(grey, value * (1 - strength.shift), tint, out=tint)
    return eight_bits(colours)


_SPECKLE = {
    224: (0.15, 0.2, 0.35, 0.45, 0.6),
    64: (0.15, 0.2, 0.25, 0.3, 0.35),
    32: (0.06, 0.1, 0.12, 0.16, 0.2),
}
_BLUR = {
    224: (1, 2, 3, 4, 6),
    64: (0.5, 0.75, 1, 1.25, 1.5),
    32: (0.4, 0.6, 0.7, 0.8, 1),
}
_SPATTER = {
    224: (
        Water(0.65, 0.3, 4, 0.69, 0.6),
        Water(0.65, 0.3, 3, 0.68, 0.6),
        Water(0.65, 0.3, 2, 0.68, 0.5),
        Mud(0.65, 0.3, 1, 0.65, 1.5),
        Mud(0.67, 0.4, 1, 0.65, 1.5),
    ),
    64: (
        Water(0.62, 0.1, 0.7, 0.7, 0.6),
        Water(0.65, 0.1, 0.8, 0.7, 0.6),
        Water(0.65, 0.3, 1, 0.69, 0.6),
        Mud(0.65, 0.1, 0.7, 0.68, 0.6),
        Mud(0.65, 0.1, 0.5, 0.67, 0.6),
    ),
    32: (
        Water(0.62, 0.1, 0.7, 0.7, 0.5),
        Water(0.65, 0.1, 0.8, 0.7, 0.5),
        Water(0.65, 0.3, 1, 0.69, 0.5),
        Mud(0.65, 0.1, 0.7, 0.69, 0.6),
        Mud(0.65, 0.1, 0.5, 0.68, 0.6),
    ),
}
_SATURATION = {
    224: ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    64: ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (30, 0.2)),
    32: ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
}

CORRUPTIONS: tuple[Corruption, ...] = (
    Corruption("speckle_noise", "extra", _SPECKLE, speckle_noise, draw_normals),
    Corruption("gaussian_blur", "extra", _BLUR, gaussian_blur),
    Corruption("spatter", "extra", _SPATTER, spatter, draw_spatter),
    Corruption(
        "saturate",
        "extra",
        {size: tuple(Saturation(*pair) for pair in pairs) for size, pairs in _SATURATION.items()},
        saturate,
    ),
)
