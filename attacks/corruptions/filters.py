"""Linear filters that several corruptions share: Gaussian, motion blur, zoom about the centre.

Each works on (N, C, H, W) in the dtype and on the device of its argument. float64 keeps to the
order of operations of the library that the published generator called; float32 goes by matrices.
"""

import math
from enum import Enum
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


class Padding(Enum):
    """What lies beyond the border of an image."""

    EDGE = "aaa|abc|ccc"
    R101 = "cb|abc|ba"
    RHALF = "ba|abc|cb"


def padded_positions(length: int, before: int, after: int, padding: Padding) -> Tensor:
    """Where each sample of a padded axis comes from: int64 (before + length + after,).

    Reflections repeat as often as it takes.

    >>> padded_positions(3, 4, 1, Padding.RHALF).tolist()
    [2, 2, 1, 0, 0, 1, 2, 2]
    """
    positions = torch.arange(-before, length + after)
    if padding is Padding.EDGE or length == 1:
        return positions.clamp_(0, length - 1)
    if padding is Padding.R101:
        positions %= 2 * length - 2
        return torch.minimum(positions, 2 * length - 2 - positions)
    positions %= 2 * length
    return torch.minimum(positions, 2 * length - 1 - positions)


def gaussian(
    values: Tensor, sigma: float, *, truncate: float = 4.0, padding: Padding = Padding.EDGE
) -> Tensor:
    """Gaussian blur within each channel, rows axis first, as ``scipy.ndimage.gaussian_filter``.

    Args:
        values: float (N, C, H, W).
        sigma: standard deviation in pixels; 0 is the identity.
        truncate: the kernel ends after ``int(truncate * sigma + 0.5)`` pixels.
        padding: what lies beyond the border.
    """
    radius = int(truncate * sigma + 0.5)
    if sigma == 0 or radius == 0:
        return values.clone()
    height, width = values.shape[2:]
    if values.dtype == torch.float64 and radius < min(height, width):
        taps = gaussian_taps(sigma, radius)
        return _symmetric(_symmetric(values, taps, padding, 2), taps, padding, 3)
    rows = _gaussian_matrix(height, sigma, radius, padding, values.dtype, values.device)
    columns = _gaussian_matrix(width, sigma, radius, padding, values.dtype, values.device)
    return rows @ (values @ columns.T)


def gaussian_taps(sigma: float, radius: int) -> tuple[float, ...]:
    """Weights of a Gaussian at 0, 1, ..., ``radius``; those of the whole kernel sum to 1."""
    positions = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 / (sigma * sigma) * positions**2)
    return tuple((weights / weights.sum())[radius:].tolist())


def _symmetric(values: Tensor, taps: tuple[float, ...], padding: Padding, axis: int) -> Tensor:
    """Correlate with a symmetric kernel in scipy's order: centre, then pairs from the far ones.

    No fused operation: truncation shows the last bit of a sum where a picture is flat.
    """
    radius = len(taps) - 1
    length = values.shape[axis]
    positions = padded_positions(length, radius, radius, padding).to(values.device)
    padded = values.index_select(axis, positions)
    total = padded.narrow(axis, radius, length) * taps[0]
    for distance in range(radius, 0, -1):
        pair = padded.narrow(axis, radius - distance, length) + padded.narrow(
            axis, radius + distance, length
        )
        total += pair.mul_(taps[distance])
    return total


@lru_cache(maxsize=64)
def _gaussian_matrix(
    length: int,
    sigma: float,
    radius: int,
    padding: Padding,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """The blur of one axis, padding included, as a (length, length) matrix."""
    taps = gaussian_taps(sigma, radius)
    kernel = torch.tensor([*taps[:0:-1], *taps], dtype=torch.float64)
    positions = padded_positions(length, radius, radius, padding)
    matrix = torch.zeros(length, length, dtype=torch.float64)
    for output in range(length):
        matrix[output].index_add_(0, positions[output : output + 2 * radius + 1], kernel)
    return matrix.to(device, dtype)


def motion_taps(angles: Tensor, radius: float, sigma: float) -> tuple[Tensor, tuple[float, ...]]:
    """Where a motion blur looks, and how much each place counts.

    Args:
        angles: (N,), in degrees.
        radius: in pixels; there are ``2 * ceil(radius) + 1`` taps, all on one side.
        sigma: standard deviation of the weights, in pixels.

    Returns:
        Offsets, int64 (N, taps, 2), of row and column, and the weights, which sum to 1.
    """
    count = 2 * math.ceil(radius) + 1
    weights = np.exp(-(np.arange(count) ** 2) / (2 * sigma**2))
    radians = torch.deg2rad(angles.double())[:, None]
    distances = torch.arange(count, dtype=torch.float64, device=angles.device)
    rows = torch.ceil(distances * torch.sin(radians) - 0.5)
    columns = torch.ceil(distances * torch.cos(radians) - 0.5)
    offsets = torch.stack((rows, columns), dim=-1).to(torch.int64)
    return offsets, tuple((weights / weights.sum()).tolist())


def motion_blur(values: Tensor, angles: Tensor, radius: float, sigma: float) -> Tensor:
    """Motion blur as ImageMagick's at 16 bits, whose results are then cut to 8.

    Args:
        values: float (N, C, H, W), whole numbers from 0 to 255.
        angles: (N,), in degrees: 0 looks to the right, 90 down.
        radius: in pixels, see `motion_taps`.
        sigma: in pixels.

    Returns:
        Whole numbers from 0 to 255, of the shape and dtype of ``values``.
    """
    # Images in order of angle: those that look at the same place with a tap stand side by side.
    angles, order = torch.sort(angles)
    offsets, weights = motion_taps(angles, radius, sigma)
    height, width = values.shape[2:]
    low = offsets.amin(dim=(0, 1)).tolist()
    high = offsets.amax(dim=(0, 1)).tolist()
    rows = padded_positions(height, -low[0], high[0], Padding.EDGE).to(values.device)
    columns = padded_positions(width, -low[1], high[1], Padding.EDGE).to(values.device)
    padded = values[order][:, :, rows[:, None], columns]
    blurred = torch.zeros_like(values)
    for weight, places in zip(weights, offsets.transpose(0, 1).tolist(), strict=True):
        start = 0
        for stop in range(1, len(places) + 1):
            if stop < len(places) and places[stop] == places[start]:
                continue
            top, left = places[start][0] - low[0], places[start][1] - low[1]
            seen = padded[start:stop, :, top : top + height, left : left + width]
            blurred[start:stop].add_(seen, alpha=weight)
            start = stop
    unsorted = torch.empty_like(blurred)
    unsorted[order] = blurred
    return unsorted.mul_(257).add_(0.5).floor_().div_(257).floor_()


def zoom(values: Tensor, factor: float) -> Tensor:
    """Enlarge about the centre, bilinearly, corners aligned, and cut to the size it was.

    Args:
        values: float (N, C, H, W).
        factor: at least 1.
    """
    if factor == 1:
        return values.clone()
    rows = zoom_matrix(values.shape[2], factor).to(values)
    columns = zoom_matrix(values.shape[3], factor).to(values)
    return rows @ (values @ columns.T)


@lru_cache(maxsize=128)
def zoom_matrix(length: int, factor: float) -> Tensor:
    """The zoom of one axis: float64 (length, length), two weights in a row."""
    seen = math.ceil(length / factor)
    enlarged = round(seen * factor)
    first, cut = (length - seen) // 2, (enlarged - length) // 2
    matrix = torch.zeros(length, length, dtype=torch.float64)
    for output in range(length):
        place = (output + cut) * (seen - 1) / (enlarged - 1)
        below = min(int(place), seen - 2)
        matrix[output, first + below] = 1 - (place - below)
        matrix[output, first + below + 1] = place - below
    return matrix
