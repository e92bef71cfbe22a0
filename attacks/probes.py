"""Probes: one dial turned on every image, without a look at the model.

A probe is a pure function ``probe(images, *, seeds, **settings)`` of images, float32 (N, C, H, W)
in [0, 1], and of int64 (N,) seeds, one per image, that gives images of the same kind. What becomes
of an image does not depend on those beside it. Unlike a corruption it has no severities: its
settings are the dial, and a sweep is several probes.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from attacks.affine import affine, resampled
from attacks.draws import Stream, normal
from attacks.spec import Spec, filled_in, parse, unknown


class Probe(Protocol):
    """What a probe is, its settings bound."""

    def __call__(self, images: Tensor, *, seeds: Tensor) -> Tensor:
        """Give the images with the dial turned."""
        ...


def gaussian_noise(images: Tensor, *, seeds: Tensor, std: float = 0.1) -> Tensor:
    """Add Gaussian noise to every value, and clip to [0, 1].

    Args:
        images: float32 (N, C, H, W) in [0, 1].
        seeds: int64 (N,), one per image.
        std: standard deviation of the noise, where black is 0 and white is 1.

    Raises:
        ValueError: for a standard deviation that is negative or no number.
    """
    if type(std) not in (int, float) or not 0 <= std < math.inf:
        raise ValueError(f"std={std} must be a number from 0")
    noise = normal(seeds, images.shape[1:], stream=Stream.PROBE)
    return noise.mul_(std).add_(images).clamp_(0, 1)


def rotation(images: Tensor, *, seeds: Tensor, angle: float = 30) -> Tensor:
    """Turn every image about its centre, read bilinearly; black comes in at the corners.

    Args:
        images: float32 (N, C, H, W) in [0, 1].
        seeds: not used; there is nothing random.
        angle: degrees, counter-clockwise.

    Raises:
        ValueError: for an angle that is no number.
    """
    if type(angle) not in (int, float) or not math.isfinite(angle):
        raise ValueError(f"angle={angle} must be a number of degrees")
    if not angle % 360:  # exactly what it was, as the clean pass sees it
        return images.clone()
    one = torch.ones(len(images), device=images.device)
    none = torch.zeros_like(one)
    linear = affine(one * math.radians(angle), none.bool(), none, one)
    # Weights of four pixels may come to a little more than 1.
    return resampled(images, linear, none[:, None].expand(-1, 2)).clamp_(0, 1)


PROBES: dict[str, Callable[..., Tensor]] = {
    "gaussian-noise": gaussian_noise,
    "rotation": rotation,
}
"""Every probe by its name."""


@dataclass(frozen=True)
class BoundProbe:
    """A probe ready to be used.

    Attributes:
        spec: the canonical text, every setting filled in; equal texts mean equal probes.
        probe: the function with its settings bound.
    """

    spec: str
    probe: Probe


def resolve(text: str) -> BoundProbe:
    """Find the probe that a spec such as ``rotation(angle=30)`` names.

    Raises:
        ValueError: for an unknown name or setting, with the nearest known one, or for a value
            that the probe cannot use.

    >>> resolve("rotation").spec
    'rotation(angle=30)'
    """
    spec = parse(text)
    if spec.name not in PROBES:
        raise ValueError(unknown("probe", spec.name, PROBES))
    function = PROBES[spec.name]
    settings = filled_in(spec, function)
    bound = functools.partial(function, **settings)
    try:
        bound(torch.zeros(0, 1, 1, 1), seeds=torch.zeros(0, dtype=torch.int64))
    except ValueError as error:
        raise ValueError(f"{spec.name}: {error}") from error
    return BoundProbe(str(Spec(spec.name, settings)), bound)
