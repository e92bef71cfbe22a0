"""Rotations, mirror images, shears, zooms and shifts: one resampling of each image."""

import math

import torch
from torch import Tensor

from attacks.affine import affine, resampled
from attacks.draws import Stream, uniform
from defenses.defense import Defense


def geometric(
    rotate: float = 15.0,
    flip: float = 0.5,
    shear: float = 10.0,
    zoom: float = 0.1,
    translate: float = 0.0,
) -> Defense:
    """Mirror, shear, zoom, rotate and shift each image at random; black comes in at the sides.

    All five are one affine map about the image's centre, in this order, and the image is read
    once, bilinearly. Each amount is drawn evenly between its limit to either side.

    Args:
        rotate: largest angle, in degrees.
        flip: chance of being mirrored left to right.
        shear: largest angle by which upright lines lean, in degrees.
        zoom: images are enlarged by a factor between 1 - zoom and 1 + zoom.
        translate: largest shift along each side, as a share of its length.

    Raises:
        ValueError: a setting outside of what it can be.
    """
    limits = {"rotate": 180.0, "flip": 1.0, "shear": 80.0, "zoom": 0.9, "translate": 1.0}
    given = {"rotate": rotate, "flip": flip, "shear": shear, "zoom": zoom, "translate": translate}
    for name, value in given.items():
        if type(value) not in (int, float) or not 0 <= value <= limits[name]:
            raise ValueError(f"geometric: {name}={value} must be from 0 to {limits[name]:g}")

    def transform(images: Tensor, labels: Tensor, seeds: Tensor) -> tuple[Tensor, Tensor]:
        drawn = uniform(seeds, (6,), stream=Stream.DEFENSE, step=0)
        mirrored = drawn[:, 0] < flip
        if not (rotate or shear or zoom or translate):
            turned = torch.where(mirrored[:, None, None, None], images.flip(3), images)
            return turned, labels
        angle, lean, enlarged, right, down = (2 * drawn[:, 1:] - 1).unbind(1)
        linear = affine(
            angle * math.radians(rotate),
            mirrored,
            lean * math.radians(shear),
            1 + enlarged * zoom,
        )
        return resampled(images, linear, torch.stack([right, down], 1) * translate), labels

    return Defense(transform)
