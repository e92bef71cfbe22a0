"""Rotations, mirror images, shears, zooms and shifts: one resampling of each image."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

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


def affine(angle: Tensor, mirrored: Tensor, lean: Tensor, factor: Tensor) -> Tensor:
    """Where each image's pixels come from: the inverse of its map, (N, 2, 2).

    The map, in pixels from the centre, x to the right and y down, mirrors, then leans (x moves by
    -tan(lean) y, so the top goes right), then enlarges by ``factor``, then turns by ``angle``
    (radians, the right side up). All arguments are (N,).
    """
    cos, sin, tan = torch.cos(angle), torch.sin(angle), torch.tan(lean)
    side = torch.where(mirrored, -1.0, 1.0)
    # Turned back: (cos, -sin), (sin, cos). Leant back: x + tan y. Mirrored back: -x.
    rows = [side * (cos + tan * sin), side * (tan * cos - sin), sin, cos]
    return torch.stack(rows, 1).div(factor[:, None]).view(-1, 2, 2)


def resampled(images: Tensor, linear: Tensor, shift: Tensor) -> Tensor:
    """Read images (N, C, H, W) bilinearly through affine maps about their centres.

    Args:
        linear: (N, 2, 2), takes (x, y) of the result, in pixels from the centre, to (x, y) of the
            image.
        shift: (N, 2), by how much the result is moved right and down, as shares of its sides.
    """
    height, width = images.shape[2:]
    # Of the -1 to 1 that grid_sample counts each side in, a shift by the whole side is 2.
    x = (2 * torch.arange(width, device=images.device) + 1) / width - 1 - 2 * shift[:, :1]
    y = (2 * torch.arange(height, device=images.device) + 1) / height - 1 - 2 * shift[:, 1:]
    columns, rows = x[:, None, :], y[:, :, None]
    xx, xy, yx, yy = linear.flatten(1)[:, :, None, None].unbind(1)
    place = (
        xx * columns + xy * (height / width) * rows,
        yx * (width / height) * columns + yy * rows,
    )
    return F.grid_sample(images, torch.stack(place, 3), align_corners=False)
