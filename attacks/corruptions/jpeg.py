"""JPEG compression in tensor operations: the very bytes that Pillow gives after saving and loading.

Baseline JPEG with 4:2:0 chroma as libjpeg-turbo computes it by default: ITU-T T.81 with its Annex K
tables, the integer transform of Loeffler, Ligtenberg & Moschytz (ICASSP 1989) with 13-bit
constants, and triangle-filtered chroma. The entropy coding between loses nothing and is left out.

libjpeg works in integers; so does this, held in floats that are wide enough to be exact: every
number is an integer times a power of two of less than 24 bits (float32) or 53 bits (float64),
so that the order of the additions in a matrix product cannot matter. A rounding shift by k bits
is a product with 2⁻ᵏ, which is put into the constants, then floor(value + 1/2).
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

_BLOCK = 8

# T.81, Annex K: what a quality of 50 quantises brightness and colour by.
_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
)

# The transform of 8 values, times 8192·√8: row k is √2·cos((2n + 1)kπ/16) (row 0: 1). Sums of the
# algorithm's nine rounded constants, hence up to 1.2 away from the rounded cosine (11362, 11363).
_TRANSFORM = (
    (8192, 8192, 8192, 8192, 8192, 8192, 8192, 8192),
    (11363, 9633, 6437, 2260, -2260, -6437, -9633, -11363),
    (10703, 4433, -4433, -10703, -10703, -4433, 4433, 10703),
    (9633, -2259, -11362, -6436, 6436, 11362, 2259, -9633),
    (8192, -8192, -8192, 8192, 8192, -8192, -8192, 8192),
    (6437, -11362, 2261, 9633, -9633, -2261, 11362, -6437),
    (4433, -10704, 10704, -4433, -4433, 10704, -10704, 4433),
    (2260, -6436, 9633, -11363, 11363, -9633, 6436, -2260),
)

# Bits that the four passes shift out: along rows, along columns; back along columns, along rows.
_SHIFTS = (11, 15, 11, 18)

# In units of 2⁻¹⁶, the weights of red, green and blue in brightness and in the colour differences.
_TO_Y = (19595, 38470, 7471)
_TO_CB = (-11059, -21709, 32768)
_TO_CR = (32768, -27439, -5329)
_BLUE_FROM_CB, _RED_FROM_CR = 116130, 91881
_GREEN_FROM_CB, _GREEN_FROM_CR = -22554, -46802


def jpeg(pixels: Tensor, quality: int) -> Tensor:
    """Images after they were saved as JPEG and loaded again.

    Equal to Pillow's on libjpeg-turbo, ``image.save(file, "JPEG", quality=quality)``.

    Args:
        pixels: uint8 (N, C, H, W): RGB if C is 3, grey if C is 1. Sides of any length.
        quality: 1 to 100.

    Returns:
        uint8 of the same shape.

    Raises:
        ValueError: for another quality.

    >>> jpeg(torch.full((1, 3, 20, 20), 100, dtype=torch.uint8), 10).unique()
    tensor([98], dtype=torch.uint8)
    """
    height, width = pixels.shape[2:]
    if not 1 <= quality <= 100:
        raise ValueError(f"A JPEG quality is 1 to 100, not {quality}")
    luminance, chrominance = (
        _table(base, quality, pixels.device) for base in (_LUMINANCE, _CHROMINANCE)
    )
    values = pixels.float()
    if pixels.shape[1] == 1:
        return _coded(values.sub_(128), luminance).add_(128).to(torch.uint8)
    y, colour = _luma_and_chroma(values)
    y = _coded(y, luminance)[:, 0]
    colour = _coded(_halved(colour), chrominance)[:, :, : -(-height // 2), : -(-width // 2)]
    return _rgb(y, _doubled(colour)[:, :, :height, :width])


def _luma_and_chroma(values: Tensor) -> tuple[Tensor, Tensor]:
    """Brightness (N, 1, H, W) and colour differences (N, 2, H, W), integers of -128 to 127."""
    count, _, height, width = values.shape
    y, colour = values.new_empty(count, 1, height, width), values.new_empty(count, 2, height, width)
    for weights, plane in ((_TO_Y, y[:, 0]), (_TO_CB, colour[:, 0]), (_TO_CR, colour[:, 1])):
        red, green, blue = (weight / 2**16 for weight in weights)
        torch.mul(values[:, 0], red, out=plane)
        plane.add_(values[:, 1], alpha=green).add_(values[:, 2], alpha=blue)
    # Ties of colour go down, so that the 127.5 of pure red and pure blue stays below 128.
    return y.add_(0.5 - 128).floor_(), colour.add_(0.5 - 2**-16).floor_()


def _rgb(y: Tensor, colour: Tensor) -> Tensor:
    """uint8 (N, 3, H, W) from brightness (N, H, W) and colour differences (N, 2, H, W)."""
    cb, cr = colour.unbind(1)
    # Of the sums those from 0 to 256 fit 24 bits, and the others are clipped: truncation is exact.
    y = y + (0.5 + 128)
    values = y.new_empty(len(y), 3, *y.shape[1:])
    torch.add(y, cr, alpha=_RED_FROM_CR / 2**16, out=values[:, 0])
    green = torch.mul(cb, _GREEN_FROM_CB / 2**16).add_(cr, alpha=_GREEN_FROM_CR / 2**16)
    torch.add(y, green, out=values[:, 1])
    torch.add(y, cb, alpha=_BLUE_FROM_CB / 2**16, out=values[:, 2])
    return values.clamp_(0, 255).to(torch.uint8)


def _halved(colour: Tensor) -> Tensor:
    """Means of 2 x 2 pixels."""
    height, width = colour.shape[2:]
    # Rows are continued before they are halved, to whole blocks; columns only to an even length.
    right = -width % (2 * _BLOCK)
    if right or height % 2:
        colour = F.pad(colour, (0, right, 0, height % 2), mode="replicate")
    rows = colour[:, :, 0::2] + colour[:, :, 1::2]
    sums = rows[..., 0::2] + rows[..., 1::2]
    return sums.add_(_alternating(1, 2, sums)).mul_(1 / 4).floor_()


def _doubled(colour: Tensor) -> Tensor:
    """Twice as high and wide: in each direction 3 parts the nearest, 1 part the next nearest."""
    if colour.shape[3] <= 2:  # libjpeg only repeats these
        return colour.repeat_interleave(2, 2).repeat_interleave(2, 3)
    values = F.pad(colour / 16, (1, 1, 1, 1), mode="replicate")
    for dim in (2, 3):
        length = values.shape[dim] - 2
        near = values.narrow(dim, 1, length) * 3
        twice = near.new_empty(*near.shape[: dim + 1], 2, *near.shape[dim + 1 :])
        torch.add(near, values.narrow(dim, 0, length), out=twice.select(dim + 1, 0))
        torch.add(near, values.narrow(dim, 2, length), out=twice.select(dim + 1, 1))
        values = twice.flatten(dim, dim + 1)
    return values.add_(_alternating(8 / 16, 7 / 16, values)).floor_()


def _alternating(even: float, odd: float, like: Tensor) -> Tensor:
    """(W,): for even and odd columns, so that ties are not all broken the same way."""
    columns = torch.arange(like.shape[-1], device=like.device)
    return torch.where(columns % 2 == 0, even, odd).to(like)


def _rounded(values: Tensor) -> Tensor:
    """To the nearest integer, ties upwards. Overwrites ``values``."""
    return values.add_(1 / 2).floor_()


def _coded(planes: Tensor, table: Tensor) -> Tensor:
    """Planes (N, C, H, W) of -128 to 127 through the transform, the quantiser and back."""
    height, width = planes.shape[2:]
    right, below = -width % _BLOCK, -height % _BLOCK
    if right or below:
        planes = F.pad(planes, (0, right, 0, below), mode="replicate")
    rows, columns, columns_back, rows_back = _passes(planes.device)
    values = _rounded(planes.double().reshape(-1, _BLOCK) @ rows)
    values = _rounded(_through(columns, values.view(-1, _BLOCK, width + right)))
    # 8 more from the transform's scale. The nudge sends ties away from zero; 2⁻⁴⁰ of a quotient
    # is far less than the way from any other quotient to a tie, which is 1/(8·255) or more.
    steps = table.repeat(1, (width + right) // _BLOCK)
    values.mul_((1 + 2**-40) / (8 * steps)).round_().mul_(steps)
    values = _rounded(_through(columns_back, values))
    values = _rounded(values.view(-1, _BLOCK) @ rows_back)
    return values.clamp_(-128, 127).float().view(planes.shape)[:, :, :height, :width]


def _through(matrix: Tensor, values: Tensor) -> Tensor:
    return torch.bmm(matrix.expand(len(values), -1, -1), values)


@lru_cache(maxsize=8)
def _passes(device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The factors, right, left, left and right, of the four passes, shifts included."""
    transform = torch.tensor(_TRANSFORM, dtype=torch.float64, device=device)
    there, down, up, back = (2.0**-shift for shift in _SHIFTS)
    return transform.T * there, transform * down, transform.T * up, transform * back


@lru_cache(maxsize=256)
def _table(base: tuple[tuple[int, ...], ...], quality: int, device: torch.device) -> Tensor:
    """(8, 8) quantisation steps, by libjpeg's scaling of quality."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps = ((torch.tensor(base) * scale + 50) // 100).clamp_(1, 255)
    return steps.to(device, torch.float64)
