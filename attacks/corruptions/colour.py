"""Hue, saturation and value: the hexcone of Smith, "Color gamut transform pairs", SIGGRAPH 1978."""

from typing import NamedTuple

import torch
from torch import Tensor


class HSV(NamedTuple):
    """Hue in [0, 1), saturation and value in [0, 1], each (N, 1, H, W)."""

    hue: Tensor
    saturation: Tensor
    value: Tensor


_SECTORS = ((0, 3, 2), (1, 0, 2), (2, 0, 3), (2, 1, 0), (3, 2, 0), (0, 2, 1))
"""For each sixth of the hue, which of (v, q, p, t) red, green and blue are."""


def rgb_to_hsv(rgb: Tensor) -> HSV:
    """Colours (N, 3, H, W) in [0, 1] as hue, saturation and value.

    In float64 every value is that of scikit-image's ``rgb2hsv``: the operations are the same in the
    same order. Grey has the hue and the saturation 0; of two channels that are both the largest,
    the later decides the hue, as there.

    >>> hsv = rgb_to_hsv(torch.tensor([0.0, 0.5, 0.25]).reshape(1, 3, 1, 1))
    >>> [round(float(part), 3) for part in hsv]
    [0.417, 1.0, 0.5]
    """
    red, green, blue = rgb.split(1, dim=1)
    value = largest(rgb)
    spread = value - smallest(rgb)
    grey = spread == 0
    divisor = spread.masked_fill(grey, 1)
    sixths = torch.where(
        blue == value,
        (red - green).div_(divisor).add_(4),
        torch.where(
            green == value, (blue - red).div_(divisor).add_(2), (green - blue).div_(divisor)
        ),
    )
    # By a tensor: CUDA multiplies by the inverse of a number in place of dividing by it.
    hue = (sixths / rgb.new_tensor(6)).remainder_(1)
    saturation = spread / value.masked_fill(grey, 1)
    return HSV(hue.masked_fill_(grey, 0), saturation, value)


def hsv_to_rgb(hsv: HSV) -> Tensor:
    """Colours (N, 3, H, W) in [0, 1] from hue, saturation and value; undoes `rgb_to_hsv`.

    In float64 every value is that of scikit-image's ``hsv2rgb``.
    """
    hue, saturation, value = hsv
    sixths = hue * 6
    sector = sixths.floor()
    rest = sixths - sector
    falling = value * (1 - rest * saturation)
    low = value * (1 - saturation)
    rising = value * (1 - (1 - rest) * saturation)
    choices = torch.cat((value, falling, low, rising), dim=1)
    sectors = torch.tensor(_SECTORS, device=hue.device)
    order = sectors[sector.squeeze(1).to(torch.int64) % 6].permute(0, 3, 1, 2)
    return choices.gather(1, order)


def largest(rgb: Tensor) -> Tensor:
    """The value of colours (N, 3, H, W): the largest of the channels, (N, 1, H, W)."""
    red, green, blue = rgb.split(1, dim=1)
    return torch.maximum(torch.maximum(red, green), blue)


def smallest(rgb: Tensor) -> Tensor:
    """The smallest of the channels of colours (N, 3, H, W): (N, 1, H, W)."""
    red, green, blue = rgb.split(1, dim=1)
    return torch.minimum(torch.minimum(red, green), blue)
