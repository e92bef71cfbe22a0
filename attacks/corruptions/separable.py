"""Linear maps of images that are sums of "along the columns, then along the rows".

A Gaussian blur is one such term, a disk a few, a blur of zooms one for each factor. As matrices
they are nearly empty off the diagonal, so they are kept in blocks along it, and matrix products
of these outrun convolutions and interpolations of single planes by far.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_DENSE = 64  # up to this length one product beats those of blocks, all zeros included
_BLOCK = 32  # of 8 to 112, the quickest at 224 pixels


class _Block(NamedTuple):
    """Part of a map along an axis: the positions it makes, those it sees, and the weights."""

    made: slice
    seen: slice
    weights: Tensor


class SeparableSum(NamedTuple):
    """The map that takes a plane X to the sum over z of rows[z] @ X @ columns[z].T, in blocks."""

    terms: int
    rows: tuple[_Block, ...]
    columns: tuple[_Block, ...]


def separable_sum(
    rows: Tensor, columns: Tensor, dtype: torch.dtype, device: torch.device
) -> SeparableSum:
    """Prepare a sum of separable maps, for `apply_separable`.

    Args:
        rows: (Z, H, H), what each term does along the first axis of a plane.
        columns: (Z, W, W), what it does along the second.
        dtype: of the planes.
        device: of the planes.
    """
    terms = len(rows)
    return SeparableSum(
        terms,
        # Between the two products a plane is (H, Z, W): its rows are positions, then terms.
        tuple(
            _Block(
                made,
                slice(seen.start * terms, seen.stop * terms),
                weights.permute(1, 2, 0).flatten(1).to(device, dtype),
            )
            for made, seen, weights in _blocks(rows)
        ),
        tuple(
            _Block(made, seen, weights.permute(2, 0, 1).flatten(1).to(device, dtype))
            for made, seen, weights in _blocks(columns)
        ),
    )


def _blocks(matrices: Tensor) -> list[_Block]:
    """Cut (Z, L, L) into blocks of some rows and of all columns that these rows use."""
    length = matrices.shape[1]
    size = length if length <= _DENSE else _BLOCK
    blocks = []
    for start in range(0, length, size):
        made = slice(start, min(start + size, length))
        used = matrices[:, made].abs().sum(dim=(0, 1)).nonzero()
        seen = slice(int(used.min()), int(used.max()) + 1)
        blocks.append(_Block(made, seen, matrices[:, made, seen]))
    return blocks


def apply_separable(values: Tensor, maps: SeparableSum) -> Tensor:
    """Apply a sum of separable maps to each plane of float (N, C, H, W)."""
    planes = values.flatten(0, 1)
    made = torch.empty_like(planes, memory_format=torch.contiguous_format)
    if maps.terms == 1:
        across = torch.empty_like(made)
        for block in maps.columns:
            torch.matmul(planes[..., block.seen], block.weights, out=across[..., block.made])
        _along_rows(across, maps.rows, made)
    else:
        for block in maps.columns:
            strip = torch.matmul(planes[..., block.seen], block.weights)
            strip = strip.unflatten(2, (maps.terms, -1)).flatten(1, 2)
            _along_rows(strip, maps.rows, made[..., block.made])
    return made.view(values.shape)


def _along_rows(planes: Tensor, blocks: tuple[_Block, ...], made: Tensor) -> None:
    """Write what blocks along the first axis of planes make to ``made``."""
    for block in blocks:
        weights = block.weights.expand(len(planes), -1, -1)
        torch.bmm(weights, planes[:, block.seen], out=made[:, block.made])
