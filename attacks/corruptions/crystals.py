"""Ice crystals that grow over a pane: feathers that branch, bend and stop at each other.

Every number comes out the same on every machine: hashes of integers, and operations on float64 that
IEEE 754 rounds in one way (+, -, *, /, square root, floor), one element at a time.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_SEES = 2.2  # pixels ahead of a tip that have to be free
_BLIND = 2.0  # pixels from its root before a branch looks: its parent is beside it
_ARMS = 6  # ice has six axes
_HALF, _SIN60 = 0.5, 0.8660254037844386


@dataclass(frozen=True)
class Habit:
    """How crystals grow.

    Attributes:
        nuclei: how many places they start from.
        arms: share of the six arms of a nucleus that grow.
        steps: how long they grow.
        speeds: pixels in a step, of stems, branches and needles.
        spacing: steps between two branches of a stem, and two needles of a branch.
        lengths: the most steps that each grows.
        bend: how much a stem bends, radians in a step, at most.
        fork: tangent of half the angle between a branch and what it grows from.
        rim: whether they start at the rim of the pane, not all over it.
    """

    nuclei: int
    steps: int
    arms: float = 0.5
    speeds: tuple[float, float, float] = (1.5, 1.0, 0.75)
    spacing: tuple[int, int] = (4, 6)
    lengths: tuple[int, int, int] = (280, 160, 24)
    bend: float = 0.008
    fork: float = 0.5
    rim: bool = False


class Ice(NamedTuple):
    """Points of ice, in the order they froze.

    Attributes:
        x: pixels from the left.
        y: pixels from the top.
        level: 0 for stems, 1 for branches, 2 for needles.
        branch: the number of the stem, branch or needle.
        stem: the number of the stem.
    """

    x: Floats
    y: Floats
    level: Integers
    branch: Integers
    stem: Integers


@dataclass(frozen=True)
class _Tips:
    """The ends that grow, one entry each: place, direction, and how they go on."""

    x: Floats
    y: Floats
    along: Floats
    down: Floats
    bend: Floats
    level: Integers
    age: Integers
    life: Floats
    start: Floats
    branch: Integers
    stem: Integers

    def chosen(self, which: NDArray[np.bool_]) -> "_Tips":
        return _Tips(*(values[which] for values in vars(self).values()))

    def joined(self, *others: "_Tips") -> "_Tips":
        parts = zip(*(vars(tips).values() for tips in (self, *others)), strict=True)
        return _Tips(*(np.concatenate(part) for part in parts))


def hashed(key: int, salt: int, numbers: Integers) -> Floats:
    """Uniform values in [0, 1) from integers, float64, of the shape of ``numbers``.

    Source: the finaliser of SplitMix64, Steele, Lea & Flood, OOPSLA 2014.
    """
    words = numbers.astype(np.uint64) + np.uint64((key << 40) + (salt << 32))
    for multiplier in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB):
        words = (words + np.uint64(0x9E3779B97F4A7C15)) * np.uint64(multiplier)
        words ^= words >> np.uint64(29)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def grow(height: int, width: int, key: int, habit: Habit) -> Ice:
    """Let crystals grow over a pane; another ``key`` is another pane."""
    waiting = _stems(height, width, key, habit)
    growing = waiting.chosen(waiting.branch < 0)
    frozen = np.zeros((height + 2, width + 2), dtype=np.bool_)
    branches = len(waiting.x) + 1
    ice = []
    for step in range(habit.steps):
        due = waiting.start <= step
        growing = _step(growing.joined(waiting.chosen(due)), frozen, habit)
        waiting = waiting.chosen(~due)
        frozen[_cell(growing.y), _cell(growing.x)] = True
        ice.append(Ice(growing.x, growing.y, growing.level, growing.branch, growing.stem))
        forking = growing.chosen(_forks(growing, key, habit))
        count = len(forking.x)
        growing = growing.joined(
            _side(forking, 1, branches, key, habit),
            _side(forking, -1, branches + count, key, habit),
        )
        branches += 2 * count
    return Ice(*(np.concatenate(part) for part in zip(*ice, strict=True)))


def _stems(height: int, width: int, key: int, habit: Habit) -> _Tips:
    numbers = np.arange(habit.nuclei * _ARMS, dtype=np.int64)
    numbers = numbers[hashed(key, 1, numbers) < habit.arms]
    nuclei, arm = numbers // _ARMS, numbers % _ARMS
    x, y = hashed(key, 2, nuclei), hashed(key, 3, nuclei)
    if habit.rim:
        side = np.floor(4 * hashed(key, 9, nuclei))
        x = np.where(side == 0, 0.02 * x, np.where(side == 1, 1 - 0.02 * x, x))
        y = np.where(side == 2, 0.02 * y, np.where(side == 3, 1 - 0.02 * y, y))
    along, down = hashed(key, 4, nuclei) - 0.5, hashed(key, 5, nuclei) - 0.5
    length = np.sqrt(along * along + down * down)
    along, down = along / length, down / length
    for turns in range(1, _ARMS):
        turned = along * _HALF - down * _SIN60, along * _SIN60 + down * _HALF
        along, down = (
            np.where(arm >= turns, new, old) for new, old in zip(turned, (along, down), strict=True)
        )
    nothing = np.zeros_like(numbers)
    return _Tips(
        x=x * width,
        y=y * height,
        along=along,
        down=down,
        bend=(hashed(key, 6, numbers) * 2 - 1) * habit.bend,
        level=nothing,
        age=nothing,
        life=habit.lengths[0] * (0.15 + 0.85 * hashed(key, 7, numbers)),
        start=hashed(key, 8, nuclei) * (0.35 * habit.steps),
        branch=numbers,
        stem=numbers,
    )


def _step(tips: _Tips, frozen: NDArray[np.bool_], habit: Habit) -> _Tips:
    """The tips a step on, without those that met ice, left the pane or grew old."""
    along, down = _turned(tips, tips.bend / 2)
    speed = np.array(habit.speeds)[tips.level]
    x, y = tips.x + along * speed, tips.y + down * speed
    ahead_x, ahead_y = x + along * _SEES, y + down * _SEES
    near = _inside(ahead_x, ahead_y, frozen)
    # The cells of the border, which stay free, stand for what lies outside.
    seen = frozen[np.where(near, _cell(ahead_y), 0), np.where(near, _cell(ahead_x), 0)]
    stopped = seen & (tips.age * speed > _BLIND)
    moved = replace(tips, x=x, y=y, along=along, down=down, age=tips.age + 1)
    return moved.chosen(_inside(x, y, frozen) & ~stopped & (tips.age < tips.life))


def _forks(tips: _Tips, key: int, habit: Habit) -> NDArray[np.bool_]:
    every = np.array((*habit.spacing, 1))[tips.level]
    phase = np.floor(hashed(key, 10, tips.branch) * every).astype(np.int64)
    lucky = hashed(key, 11, tips.branch * 4096 + tips.age) < 0.93
    forks: NDArray[np.bool_] = (tips.level < 2) & ((tips.age + phase) % every == 0) & lucky
    return forks


def _side(tips: _Tips, side: int, first: int, key: int, habit: Habit) -> _Tips:
    """New branches to one side of the tips."""
    numbers = first + np.arange(len(tips.x), dtype=np.int64)
    level = tips.level + 1
    along, down = _turned(tips, side * habit.fork * (0.9 + 0.2 * hashed(key, 12, numbers)))
    # They bend back towards the way their stem goes.
    bend = 0.5 * tips.bend - side * 0.5 * habit.bend * (0.6 + 0.8 * hashed(key, 13, numbers))
    vigour = hashed(key, 14, numbers)
    life = np.array(habit.lengths)[level] * (0.15 + 0.85 * vigour * vigour)
    return replace(
        tips,
        along=along,
        down=down,
        bend=bend,
        level=level,
        age=np.zeros_like(numbers),
        life=life,
        branch=numbers,
    )


def _turned(tips: _Tips, tangent: Floats) -> tuple[Floats, Floats]:
    """The directions turned by an angle, given the tangent of its half."""
    square = tangent * tangent
    cosine, sine = (1 - square) / (1 + square), 2 * tangent / (1 + square)
    return tips.along * cosine - tips.down * sine, tips.along * sine + tips.down * cosine


def _inside(x: Floats, y: Floats, frozen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    height, width = frozen.shape[0] - 2, frozen.shape[1] - 2
    inside: NDArray[np.bool_] = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return inside


def _cell(places: Floats) -> Integers:
    """The pixel that a place is in, in an array with a border of one."""
    return np.floor(places).astype(np.int64) + 1
