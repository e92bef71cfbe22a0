"""Digital corruptions: contrast, elastic transform, pixelate, JPEG compression."""

from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from attacks.corruptions.arithmetic import eight_bits, unit
from attacks.corruptions.corruption import Corruption, Shape
from attacks.corruptions.jpeg import jpeg
from attacks.draws import Stream, uniform


class Elastic(NamedTuple):
    """How an image is bent: all in pixels."""

    alpha: float
    """What the smoothed random field is multiplied by."""
    sigma: float
    """Of the Gaussian that smooths the field; 0, as alpha 0, leaves the field out."""
    jitter: float
    """How far three points of the image move at most along each axis."""


class ElasticDraws(NamedTuple):
    """Uniform in [-1, 1): where three points go, and each pixel's way across and down."""

    points: Tensor
    """(N, 3, 2): x and y of the points below right, above right and above left of the centre."""
    fields: Tensor | None
    """(N, 2, H, W): along x, along y; None if the strength needs none."""


def contrast(pixels: Tensor, factor: float, _draws: None, dtype: torch.dtype) -> Tensor:
    """Towards the mean of each channel of each image."""
    if dtype == torch.float32:
        values = pixels.float()
        means = values.mean((2, 3), keepdim=True)
        # Between a value of 0 to 255 and the mean of such: there is nothing to clip.
        return values.mul_(factor).add_(means, alpha=1 - factor).to(torch.uint8)
    values = unit(pixels, dtype)
    # Added up pixel by pixel as numpy does: the mean's last bit decides what is truncated.
    means = values.flatten(2).cumsum(2)[:, :, -1, None, None] / values[0, 0].numel()
    return eight_bits((values - means).mul_(factor).add_(means).clamp_(0, 1).mul_(255))


def draw_elastic(seeds: Tensor, shape: Shape, strength: Elastic) -> ElasticDraws:
    """Draws for images of (C, H, W), from one seed per image."""
    points = uniform(seeds, (3, 2), stream=Stream.CORRUPTION, step=0)
    fields = None
    if _bends(strength):
        fields = uniform(seeds, (2, *shape[1:]), stream=Stream.CORRUPTION, step=1).mul_(2).sub_(1)
    return ElasticDraws(points * 2 - 1, fields)


def elastic_transform(
    pixels: Tensor, strength: Elastic, draws: ElasticDraws, dtype: torch.dtype
) -> Tensor:
    """An affine map that moves three points, then each pixel by a smooth random field."""
    # The published images are in float32 after each step.
    values = unit(pixels, torch.float32).to(dtype)
    theta = _affine(strength.jitter * draws.points.to(dtype), *pixels.shape[2:])
    grid = F.affine_grid(theta, list(values.shape), align_corners=True)
    values = _sample(values, grid, align_corners=True)
    if draws.fields is not None and _bends(strength):
        values = _sample(values, _bent(draws.fields.to(dtype), strength), align_corners=False)
    values = values.float().clamp_(0, 1).mul_(255)
    if dtype == torch.float32:
        # The weights' sum is off by 2⁻²³; that must not turn even areas a level darker.
        values.add_(2**-12)
    return eight_bits(values)


def pixelate(pixels: Tensor, scale: float, _draws: None, _dtype: torch.dtype) -> Tensor:
    """Shrunk by means of whole pixels and enlarged by repeating them, as Pillow's BOX filter."""
    height, width = pixels.shape[2:]
    rows, columns = (_boxes(side, scale, pixels.device) for side in (height, width))
    # Sums of few 8-bit numbers: exact in any floating-point format that a device multiplies in.
    small = _means(pixels.float() @ columns.members.T, columns.counts)
    small = _means(rows.members @ small, rows.counts[:, None]).to(torch.uint8)
    # Whole rows are copied faster than single pixels, so columns are repeated as rows.
    wide = small.mT.contiguous().index_select(2, columns.repeats).mT.contiguous()
    return wide.index_select(2, rows.repeats)


def jpeg_compression(pixels: Tensor, quality: int, _draws: None, _dtype: torch.dtype) -> Tensor:
    """Saved and loaded as JPEG."""
    return jpeg(pixels, quality)


def _bends(strength: Elastic) -> bool:
    return strength.alpha > 0 and strength.sigma > 0


def _sample(values: Tensor, grid: Tensor, *, align_corners: bool) -> Tensor:
    """Bilinear; reflected about the border pixels' centres if corners are aligned, else edges."""
    sampled = F.grid_sample(
        values, grid, mode="bilinear", padding_mode="reflection", align_corners=align_corners
    )
    return sampled.float().to(values.dtype)


def _affine(offsets: Tensor, height: int, width: int) -> Tensor:
    """Where each pixel comes from, (N, 2, 3) on corners of ±1, if the points move (N, 3, 2)."""
    side = min(height, width) // 3
    below_right, above_right, above_left = offsets.unbind(1)
    # Old to new is p -> c + m + A(p - c): c the centre, half way from the first point to the last.
    middle = (below_right + above_left) / 2
    along_x, along_y = (above_right - above_left), (below_right - above_right)
    forth = torch.stack((along_x, along_y), 2) / (2 * side)
    forth = forth + torch.eye(2, dtype=forth.dtype, device=forth.device)
    back = torch.linalg.inv_ex(forth).inverse  # unlike inv, without waiting for the device
    half = offsets.new_tensor(((width - 1) / 2, (height - 1) / 2))
    centre = offsets.new_tensor((width // 2, height // 2))
    constant = (back @ (half - centre - middle)[:, :, None])[:, :, 0] + centre - half
    return torch.cat((back * half, constant[:, :, None]), 2) / half[:, None]


def _bent(fields: Tensor, strength: Elastic) -> Tensor:
    """(N, H, W, 2): where each pixel comes from, on edges of ±1."""
    height, width = fields.shape[2:]
    down, across = (
        _smoothing(side, strength.sigma, fields.dtype, fields.device) for side in (height, width)
    )
    ways = (down @ fields @ across.T).float().to(fields.dtype)
    still = torch.eye(2, 3, dtype=fields.dtype, device=fields.device)[None]
    grid = F.affine_grid(still, [1, 1, height, width], align_corners=False)
    scale = fields.new_tensor((2 * strength.alpha / width, 2 * strength.alpha / height))
    return torch.addcmul(grid, ways.permute(0, 2, 3, 1), scale)


@lru_cache(maxsize=64)
def _smoothing(side: int, sigma: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(side, side): a Gaussian of three sigmas over values reflected at their ends' edges."""
    radius = int(3 * sigma + 0.5)
    steps = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (steps.double() / sigma) ** 2)
    weights = weights / weights.sum()
    sources = (torch.arange(side)[:, None] + steps) % (2 * side)
    sources = torch.minimum(sources, 2 * side - 1 - sources)
    matrix = torch.zeros(side, side, dtype=torch.float64)
    matrix.scatter_add_(1, sources, weights.expand(side, -1))
    return matrix.to(device, dtype)


class _Boxes(NamedTuple):
    """How a side is divided."""

    members: Tensor
    """(small, side): 1 for the pixels that are averaged, else 0."""
    counts: Tensor
    """(small,): how many they are."""
    repeats: Tensor
    """(side,): which mean a pixel becomes."""


@lru_cache(maxsize=64)
def _boxes(side: int, scale: float, device: torch.device) -> _Boxes:
    small = int(side * scale)
    members = _box(side, small).float().to(device)
    return _Boxes(members, members.sum(1), _box(small, side).int().argmax(1).to(device))


def _box(source: int, target: int) -> Tensor:
    """Which pixels Pillow's BOX filter takes, with equal weights: bool (target, source)."""
    # Pillow's operations in Pillow's order: where a pixel is just half in, the last bit decides.
    ratio = source / target
    width = max(ratio, 1.0)
    centres = (torch.arange(target, dtype=torch.float64)[:, None] + 0.5) * ratio
    pixels = torch.arange(source)
    first, end = ((centres + half + 0.5).long() for half in (-width / 2, width / 2))
    places = (pixels - centres + 0.5) * (1 / width)
    return (pixels >= first) & (pixels < end) & (places > -0.5) & (places <= 0.5)


def _means(sums: Tensor, counts: Tensor) -> Tensor:
    """To the nearest integer, ties upwards. Overwrites ``sums``."""
    return sums.div_(counts).add_(0.5).floor_()


CORRUPTIONS: tuple[Corruption, ...] = (
    Corruption(
        "contrast",
        "digital",
        {
            224: (0.4, 0.3, 0.2, 0.1, 0.05),
            64: (0.4, 0.3, 0.2, 0.1, 0.05),
            32: (0.75, 0.5, 0.4, 0.3, 0.15),
        },
        contrast,
    ),
    Corruption(
        "elastic_transform",
        "digital",
        {
            # 244, a published slip for 224, times (2, .7, .1), (2, .08, .2), (.05, .01, .02), ...
            224: (
                Elastic(488, 170.8, 24.4),
                Elastic(488, 19.52, 48.8),
                Elastic(12.2, 2.44, 4.88),
                Elastic(17.08, 2.44, 4.88),
                Elastic(29.28, 2.44, 4.88),
            ),
            64: (
                Elastic(0, 0, 5.12),
                Elastic(3.2, 19.2, 3.84),
                Elastic(6.4, 5.12, 3.84),
                Elastic(6.4, 1.92, 1.92),
                Elastic(10.24, 1.92, 1.28),
            ),
            32: (
                Elastic(0, 0, 2.56),
                Elastic(1.6, 6.4, 2.24),
                Elastic(2.56, 1.92, 1.92),
                Elastic(3.2, 1.28, 1.6),
                Elastic(3.2, 0.96, 0.96),
            ),
        },
        elastic_transform,
        draw_elastic,
    ),
    Corruption(
        "pixelate",
        "digital",
        {
            224: (0.6, 0.5, 0.4, 0.3, 0.25),
            64: (0.9, 0.8, 0.7, 0.6, 0.5),
            32: (0.95, 0.9, 0.85, 0.75, 0.65),
        },
        pixelate,
    ),
    Corruption(
        "jpeg_compression",
        "digital",
        {
            224: (25, 18, 15, 10, 7),
            64: (65, 58, 50, 40, 25),
            32: (80, 65, 58, 50, 40),
        },
        jpeg_compression,
    ),
)
