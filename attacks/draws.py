"""Counter-based random draws: the same numbers on every device, in every batch.

A draw is a pure function of (seed of the image, stream, step) and of where in it a value stands.
All come from SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators",
OOPSLA 2014), whose n-th word is a hash of its start and n: an image's seed starts a generator, the
word number ``stream`` of which starts another, the word number ``step`` of which starts the draw.
These are integer tensor operations, alike on every device. Two draws of 2¹⁷ words overlap with a
chance of 2⁻⁴⁷. No global generator is read or changed, and an image's draws do not depend on the
images beside it.
"""

import math
import sys
from collections.abc import Sequence
from enum import IntEnum

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_GOLDEN = 0x9E3779B97F4A7C15
_MIX = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_BLOCK = 2**15  # 64-bit words that a core mixes at a time


class Stream(IntEnum):
    """What a draw is for; two purposes never share numbers."""

    START = 1
    TIES = 2
    TARGETS = 3
    STATIC = 4
    CANVAS = 5
    LIBRARY = 6
    CORRUPTION = 7
    DEFENSE = 8
    HOLD_OUT = 9
    PROBE = 10


def image_seeds(seed: int, ids: Tensor) -> Tensor:
    """One seed per image, int64 (N,), from the seed of a run and the images' ids, int64 (N,)."""
    return nth_words(nth_words(torch.full_like(ids, _signed(seed)), 0), ids)


def derived_seeds(seeds: Tensor, *, stream: int, step: int | Tensor) -> Tensor:
    """Other seeds, int64 (N,), for a purpose and a step of their own."""
    return nth_words(nth_words(seeds, int(stream)), step)


def uniform(seeds: Tensor, shape: Sequence[int], *, stream: int, step: int | Tensor = 0) -> Tensor:
    """Uniform values in [0, 1), float32 (N, *shape), on a grid of 2⁻²⁴.

    Args:
        seeds: int64 (N,), one per image.
        shape: the shape of one image's draw.
        stream: what the draw is for, a `Stream`.
        step: a number, or int64 (N,), that tells repeated draws apart.
    """
    grid = words(seeds, shape, stream=stream, step=step).bitwise_right_shift_(8)
    return grid.to(torch.float32).mul_(2.0**-24).add_(0.5)


def normal(seeds: Tensor, shape: Sequence[int], *, stream: int, step: int | Tensor = 0) -> Tensor:
    """Standard normal values, float32 (N, *shape), of at most 6.6 standard deviations.

    By the Box-Muller transform: the first half of an image's values are the cosines, the second
    half the sines, so a longer draw does not begin like a shorter one.
    """
    count = math.prod(shape)
    pairs = words(seeds, (2, -(-count // 2)), stream=stream, step=step)
    # An odd word is as likely as its negative and never 0: v, its size times 2⁻³¹, is in (0, 1].
    radius = pairs[:, :1].bitwise_or_(1).to(torch.float32).mul_(2.0**-31)
    radius.pow_(-2).log_().sqrt_()  # sqrt(-2 log v)
    angle = pairs[:, 1].to(torch.float32).mul_(math.pi * 2.0**-31)
    values = torch.empty_like(pairs, dtype=torch.float32)
    torch.cos(angle, out=values[:, 0])
    torch.sin(angle, out=values[:, 1])
    return values.mul_(radius).flatten(1)[:, :count].reshape(len(seeds), *shape)


def signs(seeds: Tensor, shape: Sequence[int], *, stream: int, step: int | Tensor = 0) -> Tensor:
    """Fair signs, -1 or 1, float32 (N, *shape)."""
    drawn = words(seeds, shape, stream=stream, step=step)
    return drawn.bitwise_right_shift_(31).bitwise_or_(1).to(torch.float32)


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
    return words(seeds, shape, stream=stream, step=step).to(torch.int64) & _MASK


def words(seeds: Tensor, shape: Sequence[int], *, stream: int, step: int | Tensor = 0) -> Tensor:
    """Uniform signed 32-bit integers, int32 (N, *shape): the quickest draw, all others' source."""
    count = math.prod(shape)
    start = derived_seeds(seeds, stream=stream, step=step)
    mixed = split_mix(start, -(-count // 2)).view(torch.int32)
    if sys.byteorder == "big":  # the low half of 64 bits comes first everywhere
        mixed = mixed.unflatten(1, (-1, 2)).flip(2).flatten(1)
    return mixed[:, :count].reshape(len(seeds), *shape)


def nth_words(states: Tensor, numbers: int | Tensor) -> Tensor:
    """One of SplitMix64's next words from each state, number 0 the first: int64 (N,)."""
    found = (torch.zeros_like(states) + numbers + 1).mul_(_signed(_GOLDEN)).add_(states)
    _mix_(found)
    return found


def split_mix(states: Tensor, count: int) -> Tensor:
    """SplitMix64's next words from 64-bit states: int64 (N,) gives int64 (N, count)."""
    counters = torch.arange(1, count + 1, device=states.device)
    mixed = torch.empty(len(states), count, dtype=torch.int64, device=states.device)
    torch.add(states[:, None], counters, alpha=_signed(_GOLDEN), out=mixed)
    # The time goes into passes over memory: on a CPU, over blocks that stay in the cores' caches.
    block = _BLOCK * torch.get_num_threads() if states.device.type == "cpu" else mixed.numel()
    for values in mixed.view(-1).split(max(1, block)):
        _mix_(values)
    return mixed


def _mix_(values: Tensor) -> None:
    """SplitMix64's finalizer, in place on int64."""
    shifted = torch.empty_like(values)
    for shift, multiplier in zip((30, 27, 31), (*_MIX, None), strict=True):
        torch.bitwise_right_shift(values, shift, out=shifted)
        shifted.bitwise_and_(2 ** (64 - shift) - 1)  # the shift copied the sign: it must bring 0
        values.bitwise_xor_(shifted)
        if multiplier is not None:
            values.mul_(_signed(multiplier))


def _signed(value: int) -> int:
    """The int64 with the low 64 bits of a Python integer of any size."""
    return (value + 2**63) % 2**64 - 2**63
