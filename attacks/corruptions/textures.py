"""Photographs of frost that nobody took: for the corruption ``frost``, and free of rights.

The published generator uses five photographs whose origin is not stated. These have their sizes and
mean colours, and the power spectrum of photographs, but the frost grew in `crystals`. The same bits
come out on every machine, see there.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks.corruptions.crystals import Floats, Habit, Ice, grow, hashed

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class _Look:
    """A photograph of frost.

    Attributes:
        size: height and width.
        key: which of all frosts.
        habit: how it grows.
        thickness: of stems, branches and needles.
        soft: how much of the ice is seen at each blur: none, 2, 4, ... pixels.
        clouds: how uneven the pane is.
        light: how much the light comes from the side.
        black: what is seen where there is no ice; below 0 where a channel is cut off.
        white: the colour of thick ice.
        levels: what counts as no ice, and as thick ice.
    """

    size: tuple[int, int]
    key: int
    habit: Habit
    thickness: tuple[float, float, float]
    soft: tuple[float, ...]
    clouds: float
    light: float
    black: Colour
    white: Colour
    levels: tuple[float, float]


def _photograph(look: _Look) -> NDArray[np.uint8]:
    """(H, W, 3)."""
    ice = _height(look, grow(*look.size, look.key, look.habit))
    lit = _soft(ice, look.soft) + look.clouds * _clouds(look.size, look.key)
    sides = _smooth(ice)
    lit[1:, 1:] += look.light * (sides[1:, 1:] - sides[:-1, :-1])
    low, high = look.levels
    white = np.minimum(np.maximum((lit - low) / (high - low), -0.2), 1.15)
    channels = [
        np.minimum(np.maximum(black + (full - black) * white, 0), 255)
        for black, full in zip(look.black, look.white, strict=True)
    ]
    return np.stack(channels, axis=-1).astype(np.uint8)


def _height(look: _Look, ice: Ice) -> Floats:
    """How thick the ice is at each pixel, in [0, 1)."""
    height, width = look.size
    thickness = np.array(look.thickness)[ice.level]
    thickness = thickness * (0.5 + hashed(look.key, 20, ice.branch))
    thickness = thickness * (0.5 + 0.8 * hashed(look.key, 21, ice.stem))
    x, y = ice.x + 0.5, ice.y + 0.5  # in an array with a border of one, from centre to centre
    column, row = np.floor(x), np.floor(y)
    right, lower = x - column, y - row
    corner = (row * (width + 2) + column).astype(np.int64)
    total = np.zeros((height + 2) * (width + 2))
    for step, share in (
        (0, (1 - lower) * (1 - right)),
        (1, (1 - lower) * right),
        (width + 2, lower * (1 - right)),
        (width + 3, lower * right),
    ):
        # Whole numbers, so that their sums do not depend on the order.
        parts = np.floor(thickness * share * 4096)
        total += np.bincount(corner + step, parts, minlength=len(total))
    total = total.reshape(height + 2, width + 2)[1:-1, 1:-1] / 4096
    return total / (total + 1)


def _smooth(values: Floats) -> Floats:
    """Each pixel with its neighbours, 1 : 2 : 1, down and across."""
    padded = np.concatenate((values[:1], values, values[-1:]))
    values = (padded[:-2] + padded[2:]) * 0.25 + padded[1:-1] * 0.5
    padded = np.concatenate((values[:, :1], values, values[:, -1:]), axis=1)
    return (padded[:, :-2] + padded[:, 2:]) * 0.25 + padded[:, 1:-1] * 0.5


def _halved(values: Floats) -> Floats:
    height, width = (side // 2 * 2 for side in values.shape)
    values = values[:height, :width]
    rows = values[0::2] + values[1::2]
    return (rows[:, 0::2] + rows[:, 1::2]) * 0.25


def _doubled(values: Floats, shape: tuple[int, ...]) -> Floats:
    """Enlarged to a shape of twice the size, or a pixel more."""
    rows = np.minimum(np.arange(shape[0]) // 2, values.shape[0] - 1)
    columns = np.minimum(np.arange(shape[1]) // 2, values.shape[1] - 1)
    return _smooth(values[rows][:, columns])


def _soft(values: Floats, weights: Sequence[float]) -> Floats:
    """A sum of ever softer copies."""
    octaves = [values]
    for _ in weights[1:]:
        octaves.append(_halved(_smooth(octaves[-1])))
    total = octaves.pop() * weights[-1]
    for octave, weight in zip(reversed(octaves), reversed(weights[:-1]), strict=True):
        total = _doubled(total, octave.shape) + octave * weight
    return total


def _clouds(size: tuple[int, int], key: int) -> Floats:
    """Noise, weaker in the finer octaves, as clouds have it."""
    sizes = [size]
    while min(sizes[-1]) > 3:
        height, width = sizes[-1]
        sizes.append((-(-height // 2), -(-width // 2)))
    total = np.zeros(sizes[-1])
    for octave, (height, width) in reversed(list(enumerate(sizes))):
        noise = hashed(key, 32 + octave, np.arange(height * width, dtype=np.int64)).reshape(
            height, width
        )
        total = _doubled(total * 1.3, (height, width)) + (noise - 0.5)
    return total


_SOFT = 0.25, 0.9, 0.45, 0.35, 0.35, 0.35, 0.4
_LOOKS = (
    _Look(  # teal, large feathers
        size=(600, 900),
        key=1,
        habit=Habit(nuclei=60, steps=300),
        thickness=(3.3, 1.2, 0.4),
        soft=_SOFT,
        clouds=0.1,
        light=0.5,
        black=(-49.4, 63.4, 93.2),
        white=(225, 250, 252),
        levels=(-0.24, 1.36),
    ),
    _Look(  # almost white, dense
        size=(315, 560),
        key=2,
        habit=Habit(nuclei=60, steps=240, spacing=(3, 4), lengths=(120, 100, 20)),
        thickness=(2.5, 1.2, 0.6),
        soft=(0.22, 0.6, 0.35, 0.3, 0.3, 0.35),
        clouds=0.1,
        light=0.6,
        black=(138.6, 150.7, 172.5),
        white=(255, 252, 252),
        levels=(0.03, 1.25),
    ),
    _Look(  # grey-blue, straight needles
        size=(350, 527),
        key=3,
        habit=Habit(nuclei=26, steps=300, arms=0.4, spacing=(3, 9), bend=0.002, fork=0.35),
        thickness=(3, 1.1, 0.4),
        soft=_SOFT,
        clouds=0.12,
        light=0.6,
        black=(43.5, 67.4, 85.7),
        white=(245, 250, 255),
        levels=(-0.08, 1.47),
    ),
    _Look(  # dark, from the rim
        size=(495, 660),
        key=4,
        habit=Habit(nuclei=40, steps=330, arms=0.6, bend=0.012, rim=True),
        thickness=(3.3, 1.2, 0.4),
        soft=_SOFT,
        clouds=0.15,
        light=0.6,
        black=(16.1, 28.6, 43.7),
        white=(238, 247, 255),
        levels=(-0.27, 1.59),
    ),
)


@lru_cache(maxsize=1)
def frost_textures() -> tuple[Tensor, ...]:
    """Five pictures of frost, uint8 (3, H, W), the second and the third the same, as published.

    Made when first asked for, in about a second. Do not write into them.
    """
    pictures = [torch.from_numpy(_photograph(look)).permute(2, 0, 1) for look in _LOOKS]
    first, second, fourth, fifth = (picture.contiguous() for picture in pictures)
    return first, second, second, fourth, fifth


def digest(textures: Sequence[Tensor]) -> str:
    """The SHA-256 of textures, their sizes included, in hexadecimal."""
    total = hashlib.sha256()
    for texture in textures:
        total.update(repr(tuple(texture.shape)).encode())
        total.update(texture.cpu().contiguous().numpy().tobytes())
    return total.hexdigest()


def luminance(texture: Tensor) -> Tensor:
    """A picture (3, H, W) in grey, uint8 (1, H, W); weights of ITU-R BT.601, rounded."""
    red, green, blue = texture.to(torch.int64)
    grey: Tensor = (299 * red + 587 * green + 114 * blue + 500) // 1000
    return grey.to(torch.uint8)[None]


def scaled(picture: Tensor, scale: float) -> Tensor:
    """A picture (C, H, W), uint8, scaled as OpenCV's ``resize`` does with a bilinear rule.

    Half-pixel centres, no smoothing before, sides rounded half to even, and OpenCV's arithmetic on
    8-bit values: weights in units of 2⁻¹¹, the sums of rows cut to 4 bits more than a pixel's.
    """
    if scale == 1:
        return picture
    top, bottom, lower = _taps(picture.shape[1], scale)
    left, right, beside = _taps(picture.shape[2], scale)
    values = picture.to(torch.int64)
    rows = values[:, :, left] * (2048 - beside) + values[:, :, right] * beside >> 4
    above = (rows[:, top] * (2048 - lower)[:, None]) >> 16
    below = (rows[:, bottom] * lower[:, None]) >> 16
    return ((above + below + 2) >> 2).to(torch.uint8)


def _taps(length: int, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """For each pixel of a scaled axis: the pixels it lies between, and its share of the second."""
    count = round(length * scale)
    places = ((torch.arange(count, dtype=torch.float64) + 0.5) * (1 / scale) - 0.5).float()
    first = places.floor()
    share = torch.round((places - first) * 2048).to(torch.int64)
    first = first.to(torch.int64)
    share = torch.where((first < 0) | (first >= length - 1), 0, share)
    first = first.clamp(0, length - 1)
    return first, (first + 1).clamp(max=length - 1), share
