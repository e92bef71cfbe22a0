"""What a corruption is, and which of its three published strengths an image gets."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

SEVERITIES = (1, 2, 3, 4, 5)
SIZES = (32, 64, 224)
"""Sides of images that strengths were published for: CIFAR, Tiny ImageNet, ImageNet."""

SMALLEST = 16
"""The least side of an image that can be corrupted."""

Shape = tuple[int, int, int]
"""(C, H, W) of one image."""


@dataclass(frozen=True)
class Corruption:
    """One of the common corruptions, its randomness apart from its arithmetic.

    Attributes:
        name: the published name, such as ``gaussian_noise``.
        family: ``noise``, ``blur``, ``weather``, ``digital`` or ``extra``; ``other`` where another
            package adds it.
        strengths: for each of `SIZES`, what ``apply`` takes at severities 1 to 5.
        apply: ``apply(pixels, strength, draws, dtype)``, where ``pixels`` and what comes back are
            uint8 (N, C, H, W), C 1 or 3, and ``dtype`` is that of the arithmetic: float64 keeps to
            the published generator, float32 is faster. Pure; each image depends on itself alone.
        draw: ``draw(seeds, shape, strength)`` gives what ``apply`` takes as ``draws``, from int64
            seeds (N,), one per image and on its device; None if nothing is random.
    """

    name: str
    family: str
    strengths: Mapping[int, Sequence[Any]]
    apply: Callable[[Tensor, Any, Any, torch.dtype], Tensor]
    draw: Callable[[Tensor, Shape, Any], Any] | None = None


def strength_size(height: int, width: int) -> int:
    """Which of `SIZES` decides how strong an image is corrupted: the nearest in ratio.

    The shorter side counts: up to 45 pixels the strengths of CIFAR, up to 119 those of Tiny
    ImageNet, else those of ImageNet.

    >>> [strength_size(side, side) for side in (28, 45, 46, 96, 120, 299)]
    [32, 32, 64, 64, 224, 224]
    """
    side = min(height, width)
    return min(SIZES, key=lambda size: abs(math.log(size / side)))
