"""The extra corruptions as published, one image at a time, in numpy, scikit-image and OpenCV."""

import cv2
import numpy as np
from skimage import color
from skimage.filters import gaussian

RELIEF = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])


def speckle_noise_draws(rng, image, sd):
    return rng.standard_normal(image.shape)


def speckle_noise(image, sd, draws):
    values = image / 255.0
    return _levels(values + values * (sd * draws))


def gaussian_blur(image, sd, draws=None):
    return _levels(gaussian(image / 255.0, sigma=sd, channel_axis=-1))


def spatter_draws(rng, image, strength):
    return rng.normal(strength.mean, strength.sd, image.shape[:2])


def spatter(image, strength, draws):
    values = image.astype(np.float32) / 255
    layer = gaussian(draws, sigma=strength.blur)
    layer[layer < strength.threshold] = 0
    if hasattr(strength, "outline"):
        return _mud(values, layer, strength)
    return _water(values, layer, strength)


def _water(values, layer, strength):
    levels = (layer * 255).astype(np.int64).astype(np.uint8)  # wraps around
    distance = cv2.distanceTransform(255 - cv2.Canny(levels, 50, 150), cv2.DIST_L2, 5)
    _, distance = cv2.threshold(distance, 20, 20, cv2.THRESH_TRUNC)
    light = cv2.equalizeHist(cv2.blur(distance, (3, 3)).astype(np.uint8))
    light = cv2.blur(cv2.filter2D(light, cv2.CV_8U, RELIEF), (3, 3)).astype(np.float32)
    film = levels * light
    if not film.any():
        return _levels(values)
    film /= film.max()
    film *= strength.opacity
    colour = np.array([175, 238, 238], dtype=np.float32) / np.float32(255)
    return _levels(values + film[..., None] * colour)


def _mud(values, layer, strength):
    cover = gaussian((layer > strength.threshold).astype(np.float32), sigma=strength.outline)
    cover[cover < 0.8] = 0
    colour = np.array([63, 42, 20], dtype=np.float32) / np.float32(255)
    return _levels(values * (1 - cover[..., None]) + cover[..., None] * colour)


def saturate(image, strength, draws=None):
    hsv = color.rgb2hsv(image / 255.0)
    hsv[..., 1] = np.clip(hsv[..., 1] * strength.factor + strength.shift, 0, 1)
    return _levels(color.hsv2rgb(hsv))


def _levels(values):
    return (np.clip(values, 0, 1) * 255).astype(np.uint8)
