"""The steps that all corruptions share: 8-bit pixels in, 8-bit pixels out."""

import torch
from torch import Tensor

ALLOWANCE = 2.0**-13
"""Levels to add to blurred float32 before truncation, just above its error: 200 stays 200."""


def unit(pixels: Tensor, dtype: torch.dtype) -> Tensor:
    """8-bit pixels as values in [0, 1]."""
    values = pixels.to(dtype)
    # By a tensor: CUDA multiplies by the inverse of a number in place of dividing by it.
    return values.div_(values.new_tensor(255))


def eight_bits(values: Tensor) -> Tensor:
    """Values on the scale of 0 to 255 as uint8: clipped, then *truncated*, as published.

    Overwrites ``values``.
    """
    return values.clamp_(0, 255).to(torch.uint8)


def per_image(values: Tensor) -> Tensor:
    """(N,) as (N, 1, 1, 1)."""
    return values[:, None, None, None]
