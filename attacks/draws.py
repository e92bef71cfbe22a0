"""Counter-based random draws: the same numbers on every device, in every batch.

A draw is a pure function of (seed of the image, stream, step, position), computed with Philox 4x32
in ten rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) in tensor
operations. No global generator is read or changed, and an image's draws do not depend on the
images beside it.
"""

import math
from collections.abc import Sequence
from enum import IntEnum

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = 0x9E3779B9, 0xBB67AE85


class Stream(IntEnum):
    """What a draw is for; two purposes never share numbers."""

    START = 1
    TIES = 2
    TARGETS = 3
    STATIC = 4
    CANVAS = 5
    LIBRARY = 6
    CORRUPTION = 7


def image_seeds(seed: int, ids: Tensor) -> Tensor:
    """One seed per image, int64 (N,), from the seed of a run and the images' ids, int64 (N,)."""
    zeros = torch.zeros_like(ids)
    key = torch.full_like(ids, _signed(seed))
    words = philox((ids & _MASK, _high(ids), zeros, zeros), (key & _MASK, _high(key)))
    return words[0] | (words[1] << 32)


def derived_seeds(seeds: Tensor, *, stream: int, step: int) -> Tensor:
    """Other seeds, int64 (N,), for a purpose and a step of their own: 0 <= step < 2³²."""
    zeros = torch.zeros_like(seeds)
    counter = (zeros, zeros + step, zeros + int(stream), zeros)
    words = philox(counter, (seeds & _MASK, _high(seeds)))
    return words[0] | (words[1] << 32)


def uniform(seeds: Tensor, shape: Sequence[int], *, stream: int, step: int | Tensor = 0) -> Tensor:
    """Uniform values in [0, 1), float32 (N, *shape), on a grid of 2⁻²⁴.

    Args:
        seeds: int64 (N,), one per image.
        shape: the shape of one image's draw.
        stream: what the draw is for, a `Stream`.
        step: a number, or int64 (N,), that tells repeated draws apart.
    """
    return (bits(seeds, shape, stream=stream, step=step) >> 8).to(torch.float32) * 2.0**-24


def normal(seeds: Tensor, shape: Sequence[int], *, stream: int, step: int | Tensor = 0) -> Tensor:
    """Standard normal values, float32 (N, *shape), by the Box-Muller transform."""
    count = math.prod(shape)
    pairs = uniform(seeds, (2, count), stream=stream, step=step)
    radius = torch.sqrt(-2 * torch.log1p(-pairs[:, 0]))
    return (radius * torch.cos(2 * math.pi * pairs[:, 1])).reshape(len(seeds), *shape)


def signs(seeds: Tensor, shape: Sequence[int], *, stream: int, step: int | Tensor = 0) -> Tensor:
    """Fair signs, -1 or 1, float32 (N, *shape)."""
    return ((bits(seeds, shape, stream=stream, step=step) >> 31) * 2 - 1).to(torch.float32)


def integers(seeds: Tensor, high: int, *, stream: int, step: int | Tensor = 0) -> Tensor:
    """One integer per image in [0, high), int64 (N,). ``high`` is at most 2³¹."""
    return (bits(seeds, (1,), stream=stream, step=step)[:, 0] * high) >> 32


def wrong_classes(seeds: Tensor, labels: Tensor, classes: int) -> Tensor:
    """A class other than the label for each image, all others equally likely, int64 (N,)."""
    if classes < 2:
        raise ValueError(f"a wrong class needs at least 2 classes, the model has {classes}")
    offset = integers(seeds, classes - 1, stream=Stream.TARGETS)
    return (labels + 1 + offset) % classes


def bits(seeds: Tensor, shape: Sequence[int], *, stream: int, step: int | Tensor = 0) -> Tensor:
    """Uniform 32-bit integers held in int64, (N, *shape)."""
    count = math.prod(shape)
    blocks = torch.arange(-(-count // 4), device=seeds.device)
    key = seeds[:, None]
    if isinstance(step, Tensor):
        step = step[:, None]
    counter = (
        blocks[None, :].expand(len(seeds), -1),
        torch.zeros_like(key) + step,
        torch.full_like(key, int(stream)),
        torch.zeros_like(key),
    )
    words = torch.stack(philox(counter, (key & _MASK, _high(key))), dim=-1)
    return words.flatten(1)[:, :count].reshape(len(seeds), *shape)


def philox(
    counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Philox 4x32-10: four 32-bit words of counter and two of key give four random ones.

    All are int64 tensors with values below 2³² that broadcast against each other.
    """
    a, b, c, d = torch.broadcast_tensors(*counter)
    k, m = key
    for _ in range(10):
        # Products of 32-bit words fill 64 bits; int64 wraps, and the masks undo the sign.
        p, q = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b, c, d = _high(q) ^ b ^ k, q & _MASK, _high(p) ^ d ^ m, p & _MASK
        k, m = (k + _WEYL[0]) & _MASK, (m + _WEYL[1]) & _MASK
    return a, b, c, d


def _high(words: Tensor) -> Tensor:
    return (words >> 32) & _MASK


def _signed(value: int) -> int:
    """The int64 with the low 64 bits of a Python integer of any size."""
    return (value + 2**63) % 2**64 - 2**63
