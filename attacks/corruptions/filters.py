"""Linear filters that several corruptions share: Gaussian, motion blur, zoom about the centre.

Each works on (N, C, H, W) in the dtype and on the device of its argument. float64 keeps to the
order of operations of the library that the published generator called; float32 goes by matrices.
"""

import math
from enum import Enum
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from attacks.corruptions.separable import SeparableSum, apply_separable, separable_sum


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
    if values.dtype == torch.float64 and radius < min(values.shape[2:]):
        taps = gaussian_taps(sigma, radius)
        return _symmetric(_symmetric(values, taps, padding, 2), taps, padding, 3)
    height, width = values.shape[2:]
    return apply_separable(
        values,
        _gaussian_maps(height, width, sigma, radius, padding, values.dtype, values.device),
    )


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
def _gaussian_maps(
    height: int,
    width: int,
    sigma: float,
    radius: int,
    padding: Padding,
    dtype: torch.dtype,
    device: torch.device,
) -> SeparableSum:
    taps = gaussian_taps(sigma, radius)
    kernel = torch.tensor([*taps[:0:-1], *taps], dtype=torch.float64)
    rows, columns = (axis_matrix(kernel, length, padding)[None] for length in (height, width))
    return separable_sum(rows, columns, dtype, device)


def axis_matrix(kernel: Tensor, length: int, padding: Padding) -> Tensor:
    """The correlation of an axis with a kernel of odd size, as a float64 (length, length) matrix.

    >>> axis_matrix(torch.tensor([1.0, 2.0, 4.0]), 3, Padding.EDGE).tolist()
    [[3.0, 4.0, 0.0], [1.0, 2.0, 4.0], [0.0, 1.0, 6.0]]
    """
    border = len(kernel) // 2
    positions = padded_positions(length, border, border, padding)
    matrix = torch.zeros(length, length, dtype=torch.float64)
    for output in range(length):
        matrix[output].index_add_(0, positions[output : output + len(kernel)], kernel.double())
    return matrix


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
        Whole numbers from 0 to 255, of the shape and dtype of ``values``, channels last in memory.
    """
    # Images in order of angle: those that look at the same place with a tap stand side by side,
    # and there are few places, so most of the work is done for many images at once.
    angles, order = torch.sort(angles)
    offsets, weights = motion_taps(angles, radius, sigma)
    if values.dtype == torch.float32:
        weights = _without_tail(weights, 1e-6)
        offsets = offsets[:, : len(weights)]
    low, high = torch.stack((offsets.amin((0, 1)), offsets.amax((0, 1)))).tolist()
    padded = _edge_padded(values, order, low, high)
    count, channels, height, width = values.shape
    size, pitch = padded.stride(0), padded.stride(1)
    firsts = (offsets - torch.tensor(low, device=values.device)) * torch.tensor(
        (pitch, channels), device=values.device
    )
    blurred = values.new_zeros(count, height, width * channels)
    for weight, places in zip(weights, firsts.sum(-1).T.tolist(), strict=True):
        start = 0
        for place, alike in groupby(places):
            stop = start + len(list(alike))
            seen = padded.as_strided(
                (stop - start, height, width * channels), (size, pitch, 1), start * size + place
            )
            blurred[start:stop].add_(seen, alpha=weight)
            start = stop
    if values.dtype == torch.float64:
        blurred = blurred.mul_(257).add_(0.5).floor_().div_(257).floor_()
    else:
        blurred = blurred.add_(0.5 / 257).floor_()  # the same, less two roundings
    unsorted = blurred.index_select(0, torch.argsort(order))
    return unsorted.view(count, height, width, channels).permute(0, 3, 1, 2)


def _without_tail(weights: tuple[float, ...], tail: float) -> tuple[float, ...]:
    """Weights less the last ones, as long as those left out sum to less than ``tail``."""
    kept = len(weights)
    while sum(weights[kept - 1 :]) < tail:
        kept -= 1
    return weights[:kept]


def _edge_padded(values: Tensor, order: Tensor, low: list[int], high: list[int]) -> Tensor:
    """Images in another order, channels last, with their edges repeated.

    ``low`` and ``high`` say how far beyond the first and the last (row, column) there are pixels.
    """
    count, channels, height, width = values.shape
    top, left = max(0, -low[0]), max(0, -low[1])
    bottom, right = max(0, high[0]) + top + height, max(0, high[1]) + left + width
    padded = values.new_empty(count, bottom, right, channels)
    rows, columns = slice(top, top + height), slice(left, left + width)
    padded[:, rows, columns] = values.index_select(0, order).permute(0, 2, 3, 1)
    padded[:, rows, :left] = padded[:, rows, columns.start, None]
    padded[:, rows, columns.stop :] = padded[:, rows, columns.stop - 1, None]
    padded[:, :top] = padded[:, rows.start, None]
    padded[:, rows.stop :] = padded[:, rows.stop - 1, None]
    return padded


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


class ZoomSpan(NamedTuple):
    """How an axis is zoomed: ``seen`` samples from ``first`` on become ``enlarged``, then cut."""

    first: int
    seen: int
    enlarged: int
    cut: int


def zoom_span(length: int, factor: float) -> ZoomSpan:
    """What a zoom takes of an axis and makes of it, in the floats and roundings of the source.

    >>> zoom_span(32, 2.25)
    ZoomSpan(first=8, seen=15, enlarged=34, cut=1)
    """
    seen = math.ceil(length / factor)
    enlarged = round(seen * factor)
    return ZoomSpan((length - seen) // 2, seen, enlarged, (enlarged - length) // 2)


@lru_cache(maxsize=32)
def zoom_matrix(length: int, factor: float) -> Tensor:
    """The zoom of one axis: float64 (length, length), two weights in a row."""
    first, seen, enlarged, cut = zoom_span(length, factor)
    matrix = torch.zeros(length, length, dtype=torch.float64)
    for output in range(length):
        place = (output + cut) * (seen - 1) / (enlarged - 1)
        below = min(int(place), seen - 2)
        matrix[output, first + below] = 1 - (place - below)
        matrix[output, first + below + 1] = place - below
    return matrix
