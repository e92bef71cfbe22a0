"""Noise as published, one image at a time, in numpy."""

from typing import NamedTuple

import numpy as np


class Impulses(NamedTuple):
    replaced: np.ndarray
    salt: np.ndarray


def gaussian_noise_draws(rng, image, sd):
    return rng.standard_normal(image.shape)


def gaussian_noise(image, sd, draws):
    return _levels(image / 255.0 + sd * draws)


def shot_noise_draws(rng, image, rate):
    return rng.poisson(image / 255.0 * rate)


def shot_noise(image, rate, draws):
    return _levels(draws / rate)


def impulse_noise_draws(rng, image, share):
    """Two arrays, one after the other, as skimage.util.random_noise draws them."""
    return Impulses(rng.random(image.shape) <= share, rng.random(image.shape) <= 0.5)


def impulse_noise(image, share, draws):
    noisy = image / 255.0
    noisy[draws.replaced & draws.salt] = 1
    noisy[draws.replaced & ~draws.salt] = 0
    return _levels(noisy)


def _levels(values):
    return (np.clip(values, 0, 1) * 255).astype(np.uint8)
