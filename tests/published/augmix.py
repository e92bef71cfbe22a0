"""AugMix as published, one image at a time in Pillow: what the batched one is held against.

Written from the description in the paper (Hendrycks et al. 2020), with the functions of Pillow that
its operations are defined by. A level is what an operation's strength is computed from.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

Picture = Image.Image
BILINEAR = Image.Resampling.BILINEAR


class Step(NamedTuple):
    operation: str
    level: float  # uniform from 0.1 to the severity
    sign: int  # -1 or 1


class Draws(NamedTuple):
    weights: NDArray[np.float32]  # (width,), adding up to 1
    share: float  # of the chains
    chains: list[list[Step]]


def autocontrast(image: Picture, level: float, sign: int) -> Picture:
    return ImageOps.autocontrast(image)


def equalize(image: Picture, level: float, sign: int) -> Picture:
    return ImageOps.equalize(image)


def posterize(image: Picture, level: float, sign: int) -> Picture:
    return ImageOps.posterize(image, 4 - int(level * 4 / 10))


def rotate(image: Picture, level: float, sign: int) -> Picture:
    return image.rotate(sign * int(level * 30 / 10), resample=BILINEAR)


def solarize(image: Picture, level: float, sign: int) -> Picture:
    return ImageOps.solarize(image, 256 - int(level * 256 / 10))


def affine(image: Picture, *coefficients: float) -> Picture:
    return image.transform(image.size, Image.Transform.AFFINE, coefficients, resample=BILINEAR)


def shear_x(image: Picture, level: float, sign: int) -> Picture:
    return affine(image, 1, sign * level * 0.3 / 10, 0, 0, 1, 0)


def shear_y(image: Picture, level: float, sign: int) -> Picture:
    return affine(image, 1, 0, 0, sign * level * 0.3 / 10, 1, 0)


def translate_x(image: Picture, level: float, sign: int) -> Picture:
    return affine(image, 1, 0, sign * int(level * (image.width / 3) / 10), 0, 1, 0)


def translate_y(image: Picture, level: float, sign: int) -> Picture:
    return affine(image, 1, 0, 0, 0, 1, sign * int(level * (image.height / 3) / 10))


def color(image: Picture, level: float, sign: int) -> Picture:
    return ImageEnhance.Color(image).enhance(level * 1.8 / 10 + 0.1)


def contrast(image: Picture, level: float, sign: int) -> Picture:
    return ImageEnhance.Contrast(image).enhance(level * 1.8 / 10 + 0.1)


def brightness(image: Picture, level: float, sign: int) -> Picture:
    return ImageEnhance.Brightness(image).enhance(level * 1.8 / 10 + 0.1)


def sharpness(image: Picture, level: float, sign: int) -> Picture:
    return ImageEnhance.Sharpness(image).enhance(level * 1.8 / 10 + 0.1)


OPERATIONS: dict[str, Callable[[Picture, float, int], Picture]] = {
    function.__name__: function
    for function in (
        autocontrast, equalize, posterize, rotate, solarize, shear_x, shear_y, translate_x,
        translate_y, color, contrast, brightness, sharpness,
    )
}  # fmt: skip
PLAIN = tuple(OPERATIONS)[:9]


def draws(rng: np.random.Generator, width: int = 3, severity: float = 3) -> Draws:
    """The published draws at alpha 1 and a depth of -1."""
    weights = rng.dirichlet([1.0] * width).astype(np.float32)
    share = float(rng.beta(1.0, 1.0))
    chains = [
        [
            Step(
                str(rng.choice(PLAIN)),
                rng.uniform(0.1, severity),
                -1 if rng.uniform() > 0.5 else 1,
            )
            for _ in range(rng.integers(1, 4))
        ]
        for _ in range(width)
    ]
    return Draws(weights, share, chains)


def unit(image: Picture) -> NDArray[np.float32]:
    """(H, W, C) in [0, 1]."""
    values = np.asarray(image, dtype=np.float32) / 255
    return values if values.ndim == 3 else values[..., None]


def augmix(image: Picture, drawn: Draws) -> NDArray[np.float32]:
    """(H, W, C) in [0, 1], neither rounded nor clipped."""
    mixed = np.zeros((image.height, image.width, len(image.getbands())), np.float32)
    for weight, chain in zip(drawn.weights, drawn.chains, strict=True):
        moved = image
        for step in chain:
            moved = OPERATIONS[step.operation](moved, step.level, step.sign)
        mixed += weight * unit(moved)
    return (1 - drawn.share) * unit(image) + drawn.share * mixed
