"""Edges of 8-bit layers, the distance to them, and ranks, each as OpenCV has it to the last bit.

The images are the last axis, (H, W, N): what lies beside a pixel in all images is then one long run
of memory, which a shift moves as a whole.
"""

from functools import lru_cache
from itertools import product

import numpy as np
import torch
from torch import Tensor

FARTHEST = 20
"""Pixels from an edge at which a distance is cut."""


def canny(levels: Tensor, low: int = 50, high: int = 150) -> Tensor:
    """Edges by Canny, "A computational approach to edge detection", PAMI 1986.

    Gradients by Sobel's 3x3 masks, their strength |dx| + |dy|, the direction in eight sectors.

    Args:
        levels: int16 (H, W, N), 0 to 255.
        low: an edge goes on where the gradient is stronger than this.
        high: and there is one only where it somewhere is stronger than this.

    Returns:
        bool (H, W, N).
    """
    around = framed(levels, 0)
    smooth = around[:-2] + around[2:]
    smooth.add_(around[1:-1], alpha=2)
    across = smooth[:, 2:] - smooth[:, :-2]
    slope = around[2:] - around[:-2]
    down = slope[:, :-2] + slope[:, 2:]
    down.add_(slope[:, 1:-1], alpha=2)
    opposite = (across ^ down) >> 15  # masks: -1 is all ones, 0 none
    wide, tall = across.abs_(), down.abs_()
    strength = _in_zeros(wide + tall)
    height, width = levels.shape[:2]

    def beside(y: int, x: int) -> Tensor:
        return strength[1 + y : 1 + y + height, 1 + x : 1 + x + width]

    # Of two neighbours that are as strong, the upper and the left one is the edge.
    level = torch.maximum(beside(0, -1), beside(0, 1) - 1)
    upright = torch.maximum(beside(-1, 0), beside(1, 0) - 1)
    falling = torch.maximum(beside(-1, -1), beside(1, 1))
    rising = torch.maximum(beside(-1, 1), beside(1, -1))
    # tan 22.5° is 13573 / 2¹⁵, and tan 67.5° is 2 more.
    flattest = (wide.to(torch.int32).mul_(13573) >> 15).to(torch.int16)
    flat = (tall - flattest).sub_(1) >> 15
    steep = wide.mul_(2).add_(flattest).sub_(tall) >> 15
    rival = _chosen(flat, level, _chosen(steep, upright, _chosen(opposite, rising, falling)))
    middle = beside(0, 0)
    ridge = rival.sub_(middle) >> 15
    seeds, ground = ((ridge & (limit - middle >> 15)).to(torch.bool) for limit in (high, low))
    return _connected(seeds, ground)


def _chosen(mask: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """What ``torch.where`` does, which is slow for 16 bits. Overwrites ``yes``."""
    return yes.bitwise_xor_(no).bitwise_and_(mask).bitwise_xor_(no)


def _connected(seeds: Tensor, ground: Tensor) -> Tensor:
    """What of the ground hangs together with a seed, over sides and corners: bool (H, W, N)."""
    found = seeds
    while True:
        around = _in_zeros(found)
        rows = around[:-2] | around[1:-1]
        rows |= around[2:]
        grown = rows[:, :-2] | rows[:, 1:-1]
        grown |= rows[:, 2:]
        grown &= ground
        if torch.equal(grown, found):
            return found
        found = grown


_SIDE, _CORNER, _KNIGHT = 1.0, 1.4, 2.1969
_BY_ROW = (((1, 0), _SIDE), ((1, 1), _CORNER), ((1, -1), _CORNER), ((1, 2), _KNIGHT),
           ((1, -2), _KNIGHT))  # fmt: skip
_BY_COLUMN = (((0, 1), _SIDE), ((2, 1), _KNIGHT), ((-2, 1), _KNIGHT))
"""Moves down and to the right that go one row, and one column, on; each has its opposite."""

_UNIT = 1 << 16  # a pixel in whole numbers: images of up to 7,000 pixels fit 32 bits
_COARSE = 6  # bits cut to look a length up: lengths that then coincide are one in float32
_MARGIN = 8  # the longest stride
_AWAY = 1 << 30


def chamfer(edges: Tensor) -> Tensor:
    """Distance to the nearest edge in moves to the side, the corner and like a knight at chess.

    Source: Borgefors, "Distance transformations in digital images", CVGIP 1986, with the lengths
    1, 1.4 and 2.1969 of OpenCV, which adds a way up move by move in float32. Of a shortest way the
    moves may be put in any order, so here each direction is gone through once, in strides of 1, 2,
    4, ... moves and in whole numbers; a table then gives the float32 that each length comes to.

    Args:
        edges: bool (H, W, N).

    Returns:
        float32 (H, W, N), in pixels, at most 20.
    """
    height, width, count = edges.shape
    around = height + 2 * _MARGIN, width + 2 * _MARGIN, count
    old = torch.full(around, _AWAY, dtype=torch.int32, device=edges.device)
    new = old.clone()
    within = slice(_MARGIN, _MARGIN + height), slice(_MARGIN, _MARGIN + width)
    inside, next_inside = old[within], new[within]
    inside.copy_(edges).sub_(1).mul_(-FARTHEST * _UNIT)
    for moves, axis in ((_BY_ROW, 0), (_BY_COLUMN, 1)):
        places = torch.arange(edges.shape[axis], dtype=torch.int32, device=edges.device)
        places = places.reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        tilt = 0
        for sign, ((down, right), pixels) in product((1, -1), moves):
            # Along a slope that falls by the length of a move, a move costs nothing.
            length = round(pixels * _UNIT)
            inside += places * (tilt - sign * length)
            tilt = sign * length
            for stride in _strides(FARTHEST * _UNIT // length):
                top, left = _MARGIN - stride * sign * down, _MARGIN - stride * sign * right
                carried = old[top : top + height, left : left + width]
                torch.minimum(inside, carried, out=next_inside)
                old, new, inside, next_inside = new, old, next_inside, inside
        inside += places * tilt
    return _lengths(edges.device).index_select(0, (inside >> _COARSE).flatten()).view(edges.shape)


def _strides(moves: int) -> list[int]:
    """Strides whose sums are all the numbers up to so many moves.

    >>> _strides(9)
    [1, 2, 4, 2]
    """
    strides: list[int] = []
    while moves:
        strides.append(min(sum(strides) + 1, moves))
        moves -= strides[-1]
    return strides


@lru_cache(maxsize=8)
def _lengths(device: torch.device) -> Tensor:
    """Every length of up to 20 pixels, as it is when its moves are added in float32."""
    table = np.full((FARTHEST * _UNIT >> _COARSE) + 1, FARTHEST, dtype=np.float32)
    # By row and column of a target: the way there in whole numbers, and added up.
    ways = {(0, 0): (0, np.float32(0))}
    for row, column in product(range(FARTHEST), range(FARTHEST + 1)):
        last = [
            (*ways[row - down, column - right], length)
            for (down, right), length in (((0, 1), _SIDE), ((1, 1), _CORNER), ((1, 2), _KNIGHT))
            if (row - down, column - right) in ways
        ]
        if last:
            ways[row, column] = min(
                (whole + round(length * _UNIT), added + np.float32(length))
                for whole, added, length in last
            )
    for whole, added in ways.values():
        if whole < FARTHEST * _UNIT:
            table[whole >> _COARSE] = added
    return torch.from_numpy(table).to(device)


def equalised(levels: Tensor) -> Tensor:
    """Spread the levels of each image over 0 to 255 by their ranks.

    Args:
        levels: int32 (H, W, N), 0 to 20.

    Returns:
        int16 of the same shape; an image of one level stays as it is.
    """
    count, kinds = levels.shape[2], FARTHEST + 1
    total = levels.shape[0] * levels.shape[1]
    places = levels * count + torch.arange(count, dtype=torch.int32, device=levels.device)
    places = places.flatten()
    upto = torch.bincount(places, minlength=kinds * count).reshape(kinds, count).cumsum(0)
    lowest = upto.masked_fill(upto == 0, total).amin(0)
    # By a tensor: a number over a tensor would be the number times the inverse.
    scale = upto.new_tensor(255, dtype=torch.float32) / (total - lowest)
    table = ((upto - lowest) * scale).round_()
    own = torch.arange(kinds, dtype=torch.float32, device=levels.device)[:, None]
    table = torch.where(lowest == total, own, table).to(torch.int16)
    return table.flatten().index_select(0, places).reshape(levels.shape)


def box_sums(around: Tensor) -> Tensor:
    """Sums over 3x3 pixels of (H + 2, W + 2, N): (H, W, N)."""
    rows = around[:-2] + around[1:-1]
    rows += around[2:]
    sums = rows[:, :-2] + rows[:, 1:-1]
    sums += rows[:, 2:]
    return sums


def framed(values: Tensor, inset: int) -> Tensor:
    """(H + 2, W + 2, N): on each side a copy of the row or column so far in from the border."""
    height, width = values.shape[:2]
    around = values.new_empty(height + 2, width + 2, values.shape[2])
    around[1:-1, 1:-1] = values
    around[0, 1:-1], around[-1, 1:-1] = values[inset], values[height - 1 - inset]
    around[:, 0], around[:, -1] = around[:, 1 + inset], around[:, width - inset]
    return around


def _in_zeros(values: Tensor) -> Tensor:
    """(H + 2, W + 2, N): with zeros on each side."""
    around = values.new_zeros(values.shape[0] + 2, values.shape[1] + 2, values.shape[2])
    around[1:-1, 1:-1] = values
    return around
