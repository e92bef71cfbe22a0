"""Blur: out of focus, through frosted glass, by motion, by a zoom."""

from functools import lru_cache
from itertools import starmap
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.corruptions.arithmetic import eight_bits, unit
from attacks.corruptions.corruption import Corruption, Shape
from attacks.corruptions.filters import (
    Padding,
    axis_matrix,
    gaussian,
    motion_blur,
    padded_positions,
    zoom,
    zoom_matrix,
    zoom_span,
)
from attacks.draws import Stream, uniform, words

_ALLOWANCE = 2.0**-14
"""Levels that float32 adds before it truncates, just above its rounding: 200 is not to become 199."""

_SMALL = 64
"""Up to this side, in pixels, whole rows are mapped by dense matrices: quicker than sparse work."""


class Defocus(NamedTuple):
    """A lens out of focus: a disk of ``radius`` pixels, smoothed by a Gaussian of ``alias``."""

    radius: float
    alias: float


class Glass(NamedTuple):
    """Frosted glass: pixels move up to ``max_delta``, ``sweeps`` times, between two blurs."""

    sigma: float
    max_delta: int
    sweeps: int


class Motion(NamedTuple):
    """Motion: ``2 * radius + 1`` pixels to one side, weighed by a Gaussian of ``sigma``."""

    radius: int
    sigma: float


class Zoom(NamedTuple):
    """A zoom during the exposure: factors from 1 in steps of ``step``, up to about ``stop``."""

    stop: float
    step: float

    def factors(self) -> tuple[float, ...]:
        """The factors as numpy counts them: with some strengths one lies beyond ``stop``."""
        return tuple(np.arange(1, self.stop, self.step).tolist())


class GlassDraws(NamedTuple):
    """``moves``, int32 (N, sweeps, H - 2 max_delta, W - 2 max_delta), in [0, 4 max_delta²).

    A move is ``(dy + max_delta) * 2 * max_delta + dx + max_delta``: where the pixel looks. The
    first pixel is the one at row and column max_delta + 1.
    """

    moves: Tensor


class MotionDraws(NamedTuple):
    """``angles``, float32 (N,), in degrees, from -45 to 45."""

    angles: Tensor


def defocus_kernel(radius: float, alias: float) -> Tensor:
    """The disk, float32 with odd sides: not normalised again after it was smoothed, as published.

    >>> [defocus_kernel(radius, 0.5).sum().item() > 1.005 for radius in (6, 8, 10)]
    [False, True, True]
    """
    side = np.arange(-8, 9) if radius <= 8 else np.arange(-radius, radius + 1)
    disk = (side[:, None] ** 2 + side**2 <= radius**2).astype(np.float32)
    disk /= disk.sum()
    taps = np.arange(-1, 2) if radius <= 8 else np.arange(-2, 3)
    weights = np.exp(-(taps**2) / (2 * alias**2))
    weights = (weights / weights.sum()).astype(np.float32)
    border = len(taps) // 2
    for _ in range(2):  # along one axis, then along the other
        padded = np.pad(disk, ((0, 0), (border, border)), mode="reflect")
        disk = sum(
            weight * padded[:, first : first + disk.shape[1]]
            for first, weight in enumerate(weights)
        ).T
    return torch.from_numpy(np.ascontiguousarray(disk))


def _defocus(pixels: Tensor, strength: Defocus, draws: None, dtype: torch.dtype) -> Tensor:
    height, width = pixels.shape[2:]
    if dtype == torch.float64:
        blurred = _correlated(unit(pixels, dtype), strength).clamp_(0, 1).mul_(255)
        return eight_bits(blurred)
    values = pixels.to(dtype)
    if max(height, width) > _SMALL:
        blurred = _correlated(values, strength)
    else:
        parts = [
            rows @ (values @ columns)
            for rows, columns in _defocus_matrices(strength, height, width, dtype, pixels.device)
        ]
        blurred = parts[0]
        for part in parts[1:]:
            blurred += part
    return eight_bits(blurred.add_(_flat_allowance(strength)))


def _correlated(values: Tensor, strength: Defocus) -> Tensor:
    """Correlate with the kernel by Fourier transforms, which cost the same for every radius."""
    count, channels, height, width = values.shape
    border = len(defocus_kernel(*strength)) // 2
    sizes = _quick_size(height + 2 * border), _quick_size(width + 2 * border)
    rows = padded_positions(height, border, sizes[0] - height - border, Padding.R101)
    columns = padded_positions(width, border, sizes[1] - width - border, Padding.R101)
    planes = values.flatten(0, 1)
    if len(planes) == 1:  # one plane alone would take another path, and get other last bits
        planes = planes.expand(2, -1, -1)
    padded = planes.index_select(1, rows.to(values.device))
    padded = padded.index_select(2, columns.to(values.device))
    spectrum = torch.fft.rfft2(padded)
    spectrum *= _defocus_spectrum(strength, sizes, values.dtype, values.device)
    blurred: Tensor = torch.fft.irfft2(spectrum, s=sizes)
    return blurred[: count * channels, :height, :width].unflatten(0, (count, channels))


def _quick_size(least: int) -> int:
    """The next size whose transform is quick: a multiple of 16 without large factors."""
    size = -(-least // 16) * 16
    while any(size % factor == 0 for factor in (7, 11, 13, 17, 19)):
        size += 16
    return size


@lru_cache(maxsize=16)
def _defocus_spectrum(
    strength: Defocus, sizes: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> Tensor:
    kernel = defocus_kernel(*strength).to(dtype)
    spectrum: Tensor = torch.fft.rfft2(kernel, s=sizes).conj().resolve_conj()
    return spectrum.to(device)


@lru_cache(maxsize=16)
def _defocus_matrices(
    strength: Defocus, height: int, width: int, dtype: torch.dtype, device: torch.device
) -> list[tuple[Tensor, Tensor]]:
    """The correlation, padding included, as a sum of ``rows @ image @ columns``."""
    left, sizes, right = torch.linalg.svd(defocus_kernel(*strength).double())
    rank = int((sizes > 1e-7 * sizes[0]).sum())
    pairs = zip(left.T[:rank] * sizes[:rank, None], right[:rank], strict=True)
    return [
        (
            axis_matrix(column, height, Padding.R101).to(device, dtype),
            axis_matrix(row, width, Padding.R101).T.contiguous().to(device, dtype),
        )
        for column, row in pairs
    ]


@lru_cache(maxsize=16)
def _flat_allowance(strength: Defocus) -> float:
    """The allowance that leaves flat areas where the sum of the kernel puts them."""
    return _ALLOWANCE if defocus_kernel(*strength).double().sum() >= 1 else -_ALLOWANCE


def _glass(pixels: Tensor, strength: Glass, draws: GlassDraws, dtype: torch.dtype) -> Tensor:
    # Channels come first: one map of pixels moves all of them, plane by plane.
    values = pixels.transpose(0, 1).to(dtype, memory_format=torch.contiguous_format)
    if dtype == torch.float64:
        values = gaussian(values.div_(255), strength.sigma).mul_(255).floor_()
    else:
        values = gaussian(values, strength.sigma).add_(_ALLOWANCE).floor_()
    height, width = pixels.shape[2:]
    origins = glass_origins(draws.moves, height, width, strength.max_delta)
    moved = torch.empty_like(values)
    for before, after in zip(values, moved, strict=True):
        torch.index_select(before.view(-1), 0, origins, out=after.view(-1))
    if dtype == torch.float64:
        blurred = gaussian(moved.div_(255), strength.sigma).clamp_(0, 1).mul_(255)
    else:
        blurred = gaussian(moved, strength.sigma).add_(_ALLOWANCE)
    return eight_bits(blurred).transpose(0, 1).contiguous()


def glass_origins(moves: Tensor, height: int, width: int, max_delta: int) -> Tensor:
    """Which pixel each pixel shows after all sweeps of glass blur.

    A sweep goes from the last pixel to the first, and each takes what the pixel it looks at shows
    by then: what it showed before the sweep, or, if it comes later in the image, what the sweep
    has already given it. The second kind are chains of pixels, and following all chains at once,
    twice as far in each round, gives what one pixel after the other would.

    Args:
        moves: see `GlassDraws`.
        height: of the images.
        width: of the images.
        max_delta: how far a pixel looks, at most.

    Returns:
        int32 (N * H * W,), positions in all images laid end to end.
    """
    count, sweeps = moves.shape[:2]
    shape = (count, height, width)
    total = count * height * width
    here = torch.arange(2 * total, dtype=torch.int32, device=moves.device)
    # Pixels before a sweep have the numbers from `total` on, those after it the ones below.
    target = here[:total].view(shape)[
        :, max_delta + 1 : height - max_delta + 1, max_delta + 1 : width - max_delta + 1
    ]
    looks = _glass_looks(max_delta, width, total, moves.device)
    origins = here[:total]
    pointers = here.clone()
    current = pointers[:total]
    for sweep in range(sweeps):
        current.copy_(here[total:])
        current.view(shape)[
            :, max_delta + 1 : height - max_delta + 1, max_delta + 1 : width - max_delta + 1
        ] = target + looks.index_select(0, moves[:, sweep].flatten()).view(target.shape)
        while max_delta > 1:  # else nobody looks at a later pixel
            followed = pointers.index_select(0, current)
            current.copy_(followed)
            if int(current.min()) >= total:
                break
        origins = origins.index_select(0, current - total)
    return origins


def _glass_looks(max_delta: int, width: int, total: int, device: torch.device) -> Tensor:
    """For each move, how far on a pixel looks, plus ``total`` where it sees what was before."""
    steps = torch.arange(-max_delta, max_delta, dtype=torch.int32, device=device)
    distances = (steps[:, None] * width + steps).flatten()
    return torch.where(distances > 0, distances, distances + total)


def _glass_draws(seeds: Tensor, shape: Shape, strength: Glass) -> GlassDraws:
    height, width = (side - 2 * strength.max_delta for side in shape[1:])
    kinds = 4 * strength.max_delta**2
    pixels = height * width
    drawn = words(seeds, (strength.sweeps, -(-pixels // 2)), stream=Stream.CORRUPTION)
    # A word makes two moves of 16 bits each: with 36 kinds, none is 0.06 % likelier than another.
    halves = torch.cat((drawn & 0xFFFF, (drawn >> 16) & 0xFFFF), dim=-1)[..., :pixels]
    moves = halves.mul(kinds).bitwise_right_shift_(16)
    return GlassDraws(moves.view(len(seeds), strength.sweeps, height, width))


def _motion(pixels: Tensor, strength: Motion, draws: MotionDraws, dtype: torch.dtype) -> Tensor:
    return motion_blur(pixels.to(dtype), draws.angles, *strength).to(torch.uint8)


def _motion_draws(seeds: Tensor, shape: Shape, strength: Motion) -> MotionDraws:
    return MotionDraws(uniform(seeds, (1,), stream=Stream.CORRUPTION)[:, 0] * 90 - 45)


def _zoom(pixels: Tensor, strength: Zoom, draws: None, dtype: torch.dtype) -> Tensor:
    factors = strength.factors()
    if dtype == torch.float64:  # the published code is float32, but for the zooms themselves
        image = unit(pixels, torch.float32)
        exact = image.double()
        total = torch.zeros_like(image)
        for factor in factors:
            total += zoom(exact, factor).float()
        mean = total.add_(image).div_(len(factors) + 1)
        return eight_bits(mean.clamp_(0, 1).mul_(255))
    values = pixels.to(dtype)
    if max(values.shape[2:]) <= _SMALL:
        return eight_bits(_mapped_rows(values, factors).add_(_ALLOWANCE))
    total = values.clone()
    for factor in factors:
        total += values if factor == 1 else _enlarged(values, factor)
    return eight_bits(total.div_(len(factors) + 1).add_(_ALLOWANCE))


def _mapped_rows(values: Tensor, factors: tuple[float, ...]) -> Tensor:
    """The mean of an image and its zooms as one linear map, made two rows of pixels at a time."""
    count, channels, height, width = values.shape
    planes = values.reshape(count * channels, height * width)
    if len(planes) == 1:  # a product with one row takes another path, and has other last bits
        planes = planes.expand(2, -1)
    made = torch.empty_like(planes, memory_format=torch.contiguous_format)
    for pixels, seen, weights in _zoom_blocks(height, width, factors, values.dtype, values.device):
        torch.mm(planes[:, seen], weights, out=made[:, pixels])
    return made[: count * channels].view(values.shape)


@lru_cache(maxsize=15)
def _zoom_blocks(
    height: int, width: int, factors: tuple[float, ...], dtype: torch.dtype, device: torch.device
) -> list[tuple[slice, slice, Tensor]]:
    """For each two rows of the mean: its pixels, those it depends on, and the weights between."""
    rows = torch.stack([torch.eye(height).double(), *(zoom_matrix(height, f) for f in factors)])
    columns = torch.stack([torch.eye(width).double(), *(zoom_matrix(width, f) for f in factors)])
    blocks = []
    for start in range(0, height, 2):
        stop = min(start + 2, height)
        used = rows[:, start:stop].abs().sum(dim=(0, 1)).nonzero()
        first, last = int(used.min()), int(used.max()) + 1
        weights = torch.einsum("zos,zxw->swox", rows[:, start:stop, first:last], columns)
        blocks.append(
            (
                slice(start * width, stop * width),
                slice(first * width, last * width),
                (weights / len(rows)).flatten(2).flatten(0, 1).to(device, dtype),
            )
        )
    return blocks


def _enlarged(values: Tensor, factor: float) -> Tensor:
    """`zoom` by the library's interpolation, which large images profit from."""
    height, width = values.shape[2:]
    rows, columns = zoom_span(height, factor), zoom_span(width, factor)
    seen = values[
        ...,
        rows.first : rows.first + rows.seen,
        columns.first : columns.first + columns.seen,
    ]
    large = F.interpolate(
        seen, size=(rows.enlarged, columns.enlarged), mode="bilinear", align_corners=True
    )
    return large[..., rows.cut : rows.cut + height, columns.cut : columns.cut + width]


_SMALL_ZOOMS = tuple(Zoom(stop, 0.01) for stop in (1.06, 1.11, 1.16, 1.21, 1.26))

CORRUPTIONS = (
    Corruption(
        "defocus_blur",
        "blur",
        {
            224: tuple(starmap(Defocus, ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)))),
            64: tuple(starmap(Defocus, ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)))),
            32: tuple(starmap(Defocus, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)))),
        },
        _defocus,
    ),
    Corruption(
        "glass_blur",
        "blur",
        {
            224: tuple(
                starmap(Glass, ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)))
            ),
            64: tuple(
                starmap(Glass, ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)))
            ),
            32: tuple(
                starmap(Glass, ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)))
            ),
        },
        _glass,
        _glass_draws,
    ),
    Corruption(
        "motion_blur",
        "blur",
        {
            224: tuple(starmap(Motion, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)))),
            64: tuple(starmap(Motion, ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)))),
            32: tuple(starmap(Motion, ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)))),
        },
        _motion,
        _motion_draws,
    ),
    Corruption(
        "zoom_blur",
        "blur",
        {
            224: tuple(
                starmap(
                    Zoom, ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))
                )
            ),
            64: _SMALL_ZOOMS,
            32: _SMALL_ZOOMS,
        },
        _zoom,
    ),
)
