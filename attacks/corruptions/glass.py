"""Blur through frosted glass: pixels trade places in a fixed order, between two Gaussian blurs."""

from typing import NamedTuple

import torch
from torch import Tensor

from attacks.corruptions.arithmetic import ALLOWANCE, eight_bits
from attacks.corruptions.corruption import Shape
from attacks.corruptions.filters import gaussian
from attacks.draws import Stream, words


class Glass(NamedTuple):
    """Frosted glass: pixels move up to ``max_delta``, ``sweeps`` times, between two blurs."""

    sigma: float
    max_delta: int
    sweeps: int


class GlassDraws(NamedTuple):
    """``moves``, int32 (N, sweeps, H - 2 max_delta, W - 2 max_delta), in [0, 4 max_delta²).

    A move is ``(dy + max_delta) * 2 * max_delta + dx + max_delta``: where the pixel looks. The
    first pixel is the one at row and column max_delta + 1.
    """

    moves: Tensor


def glass_blur(pixels: Tensor, strength: Glass, draws: GlassDraws, dtype: torch.dtype) -> Tensor:
    """Blur, move the pixels, blur: uint8 (N, C, H, W) in and out, see `Corruption`."""
    # Channels come first: one map of pixels moves all of them, plane by plane.
    values = pixels.transpose(0, 1).to(dtype, memory_format=torch.contiguous_format)
    if dtype == torch.float64:
        values = gaussian(values.div_(255), strength.sigma).mul_(255).floor_()
    else:
        values = gaussian(values, strength.sigma).add_(ALLOWANCE).floor_()
    height, width = pixels.shape[2:]
    origins = glass_origins(draws.moves, height, width, strength.max_delta)
    moved = torch.empty_like(values)
    for before, after in zip(values, moved, strict=True):
        torch.index_select(before.view(-1), 0, origins, out=after.view(-1))
    if dtype == torch.float64:
        blurred = gaussian(moved.div_(255), strength.sigma).clamp_(0, 1).mul_(255)
    else:
        blurred = gaussian(moved, strength.sigma).add_(ALLOWANCE)
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
    looks = _looks(max_delta, width, total, moves.device)
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


def _looks(max_delta: int, width: int, total: int, device: torch.device) -> Tensor:
    """For each move, how far on a pixel looks, plus ``total`` where it sees what was before."""
    steps = torch.arange(-max_delta, max_delta, dtype=torch.int32, device=device)
    distances = (steps[:, None] * width + steps).flatten()
    return torch.where(distances > 0, distances, distances + total)


def glass_draws(seeds: Tensor, shape: Shape, strength: Glass) -> GlassDraws:
    """Draw the moves of each image, see `Corruption`."""
    height, width = (side - 2 * strength.max_delta for side in shape[1:])
    kinds = 4 * strength.max_delta**2
    pixels = height * width
    drawn = words(seeds, (strength.sweeps, -(-pixels // 2)), stream=Stream.CORRUPTION)
    # A word makes two moves of 16 bits each: with 36 kinds, none is 0.06 % likelier than another.
    halves = torch.cat((drawn & 0xFFFF, (drawn >> 16) & 0xFFFF), dim=-1)[..., :pixels]
    moves = halves.mul(kinds).bitwise_right_shift_(16)
    return GlassDraws(moves.view(len(seeds), strength.sweeps, height, width))
