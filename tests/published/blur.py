"""The blur corruptions as the published generators compute them, one image at a time.

Images are uint8 (n, m, 3); libraries and order of operations are those of the published code.
ImageMagick's motion blur is written out in numpy, for its Python binding is no dependency;
`motion_blur_by_imagemagick` calls it where there is one.
"""

import io
import math

import cv2
import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.filters import gaussian


def _disk(radius, alias):
    if radius <= 8:
        side, smoothing = np.arange(-8, 9), (3, 3)
    else:
        side, smoothing = np.arange(-radius, radius + 1), (5, 5)
    columns, rows = np.meshgrid(side, side)
    disk = (columns**2 + rows**2 <= radius**2).astype(np.float32)
    disk /= disk.sum()
    return cv2.GaussianBlur(disk, ksize=smoothing, sigmaX=alias)


def defocus_blur(image, strength, draws=None):
    kernel = _disk(strength.radius, strength.alias)
    image = image / 255.0
    channels = [cv2.filter2D(image[:, :, channel], -1, kernel) for channel in range(3)]
    return np.uint8(np.clip(np.stack(channels, axis=-1), 0, 1) * 255)


def glass_blur_draws(rng, image, strength):
    """Offsets (dx, dy) for every pixel, one pair at a time, in the order in which they are used."""
    delta = strength.max_delta
    height, width = image.shape[:2]
    count = strength.sweeps * (height - 2 * delta) * (width - 2 * delta)
    return [rng.integers(-delta, delta, size=(2,)) for _ in range(count)]


def glass_blur(image, strength, draws):
    delta = strength.max_delta
    height, width = image.shape[:2]
    image = np.uint8(gaussian(image / 255.0, sigma=strength.sigma, channel_axis=-1) * 255)
    offsets = iter(draws)
    for _ in range(strength.sweeps):
        for h in range(height - delta, delta, -1):
            for w in range(width - delta, delta, -1):
                dx, dy = next(offsets)
                image[h, w] = image[h + dy, w + dx]
    image = gaussian(image / 255.0, sigma=strength.sigma, channel_axis=-1)
    return np.uint8(np.clip(image, 0, 1) * 255)


def motion_blur_draws(rng, image, strength):
    """The angle in degrees."""
    return rng.uniform(-45, 45)


def motion_blur(image, strength, draws):
    angle = math.radians(draws)
    width = 2 * math.ceil(strength.radius) + 1
    weights = np.exp(-(np.arange(width) ** 2) / (2 * strength.sigma**2))
    weights /= weights.sum()
    reach = width
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge").astype(float)
    total = np.zeros(image.shape)
    for distance, weight in enumerate(weights):
        top = reach + math.ceil(distance * math.sin(angle) - 0.5)
        left = reach + math.ceil(distance * math.cos(angle) - 0.5)
        total += weight * padded[top : top + image.shape[0], left : left + image.shape[1]]
    return np.uint8(np.floor(np.floor(total * 257 + 0.5) / 257))


def motion_blur_by_imagemagick(image, strength, draws):
    from wand.image import Image as WandImage  # noqa: PLC0415 - no dependency: absent as a rule

    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, format="PNG")
    with WandImage(blob=encoded.getvalue()) as picture:
        picture.motion_blur(strength.radius, strength.sigma, draws)
        blob = np.frombuffer(picture.make_blob(), dtype=np.uint8)
    return cv2.imdecode(blob, cv2.IMREAD_COLOR)[:, :, ::-1]


def _clipped_zoom(image, factor):
    height, width = image.shape[:2]
    rows, columns = math.ceil(height / factor), math.ceil(width / factor)
    top, left = (height - rows) // 2, (width - columns) // 2
    seen = image[top : top + rows, left : left + columns]
    large = ndimage.zoom(seen, (factor, factor, 1), order=1)
    top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
    return large[top : top + height, left : left + width]


def zoom_blur(image, strength, draws=None):
    factors = np.arange(1, strength.stop, strength.step)
    image = (image / 255.0).astype(np.float32)
    total = np.zeros_like(image)
    for factor in factors:
        total += _clipped_zoom(image, factor)
    image = (image + total) / (len(factors) + 1)
    return np.uint8(np.clip(image, 0, 1) * 255)
