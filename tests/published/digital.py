"""Digital corruptions as published, one image at a time: what the batched ones are held against.

Written from the description in the papers, in numpy, scipy, scikit-image, OpenCV and Pillow.
"""

import io
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import map_coordinates
from skimage.filters import gaussian

Pixels = NDArray[np.uint8]


class Elastic(Protocol):
    alpha: float
    sigma: float
    jitter: float


class ElasticDraws(NamedTuple):
    points: NDArray[np.float64]  # (3, 2) in [-1, 1)
    across: NDArray[np.float64]  # (n, m) in [-1, 1)
    down: NDArray[np.float64]


def contrast(image: Pixels, strength: float, draws: None = None) -> Pixels:
    values = np.array(image) / 255.0
    means = np.mean(values, axis=(0, 1), keepdims=True)
    return (np.clip((values - means) * strength + means, 0, 1) * 255).astype(np.uint8)


def elastic_transform_draws(
    rng: np.random.Generator, image: Pixels, strength: Elastic
) -> ElasticDraws:
    shape = image.shape[:2]
    return ElasticDraws(
        rng.uniform(-1, 1, (3, 2)), rng.uniform(-1, 1, shape), rng.uniform(-1, 1, shape)
    )


def elastic_transform(image: Pixels, strength: Elastic, draws: ElasticDraws) -> Pixels:
    values = np.array(image, dtype=np.float32) / 255.0
    height, width = image.shape[:2]
    centre = np.array([width // 2, height // 2], np.float32)
    s = min(height, width) // 3
    old = centre + np.array([[s, s], [s, -s], [-s, -s]], np.float32)
    new = old + (strength.jitter * draws.points).astype(np.float32)
    matrix = cv2.getAffineTransform(old, new)
    values = cv2.warpAffine(
        values, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    dx, dy = (
        (gaussian(field, strength.sigma, mode="reflect", truncate=3) * strength.alpha).astype(
            np.float32
        )
        for field in (draws.across, draws.down)
    )
    x, y, z = np.meshgrid(np.arange(width), np.arange(height), np.arange(image.shape[2]))
    places = (y + dy[..., None]).ravel(), (x + dx[..., None]).ravel(), z.ravel()
    moved = map_coordinates(values, places, order=1, mode="reflect").reshape(image.shape)
    return (np.clip(moved, 0, 1) * 255).astype(np.uint8)


def pixelate(image: Pixels, strength: float, draws: None = None) -> Pixels:
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize(
        (int(width * strength), int(height * strength)), Image.Resampling.BOX
    )
    return np.array(small.resize((width, height), Image.Resampling.BOX))


def jpeg_compression(image: Pixels, strength: int, draws: None = None) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=strength)
    return np.array(Image.open(file))
