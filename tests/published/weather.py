"""Snow, frost, fog and brightness as published, an image (n, m, 3) at a time."""

import io
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image
from scipy.ndimage import zoom
from skimage.color import hsv2rgb, rgb2hsv

from attacks.corruptions.textures import frost_textures

try:
    from wand.image import Image as MagickImage
except ImportError:  # Wand, or the ImageMagick that it calls, is not installed
    MagickImage = None


def eight_bits(values):
    """The end of every corruption: clipped, then truncated."""
    return np.clip(values, 0, 255).astype(np.uint8)


class SnowDraws(NamedTuple):
    flakes: np.ndarray  # standard normal, (n, m)
    angle: float  # degrees


def snow_draws(rng, image, strength):
    return SnowDraws(rng.standard_normal(image.shape[:2]), rng.uniform(-135, -45))


def enlarged(layer, factor):
    """(n, m) enlarged about its centre, corners aligned, and cut to (n, m)."""
    seen = [int(np.ceil(side / factor)) for side in layer.shape]
    top, left = ((side - part) // 2 for side, part in zip(layer.shape, seen, strict=True))
    large = zoom(layer[top : top + seen[0], left : left + seen[1]], factor, order=1)
    top, left = ((side - part) // 2 for side, part in zip(large.shape, layer.shape, strict=True))
    return large[top : top + layer.shape[0], left : left + layer.shape[1]]


def blurred_by_magick(layer, angle, radius, sigma):
    """As published: through a PNG to ImageMagick and back."""
    file = io.BytesIO()
    Image.fromarray(layer).save(file, format="PNG")
    with MagickImage(blob=file.getvalue()) as image:
        image.motion_blur(radius=radius, sigma=sigma, angle=angle)
        data = np.frombuffer(image.make_blob("png"), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)


def blurred(layer, angle, radius, sigma):
    """What ImageMagick at 16 bits does to an 8-bit picture (n, m)."""
    distances = np.arange(2 * int(np.ceil(radius)) + 1)
    weights = np.exp(-(distances**2) / (2 * sigma**2))
    weights /= weights.sum()
    right = np.ceil(distances * np.cos(np.deg2rad(angle)) - 0.5).astype(int)
    down = np.ceil(distances * np.sin(np.deg2rad(angle)) - 0.5).astype(int)
    reach = max(abs(right).max(), abs(down).max())
    padded = np.pad(layer.astype(float), reach, mode="edge")
    height, width = layer.shape
    total = np.zeros(layer.shape)
    for weight, x, y in zip(weights, right + reach, down + reach, strict=True):
        total += weight * padded[y : y + height, x : x + width]
    return np.floor(np.floor(257 * total + 0.5) / 257)


def snow(image, strength, draws, blur=None):
    blur = blur or (blurred if MagickImage is None else blurred_by_magick)
    layer = strength.mean + strength.sd * draws.flakes
    if strength.zoom != 1:
        layer = enlarged(layer, strength.zoom)
    layer[layer < strength.threshold] = 0
    layer = (np.clip(layer, 0, 1) * 255).astype(np.uint8)
    layer = blur(layer, draws.angle, strength.radius, strength.sigma) / 255.0
    layer = layer[..., np.newaxis]
    x = np.array(image, dtype=np.float32) / 255.0
    grey = cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)[..., np.newaxis]
    x = strength.image * x + (1 - strength.image) * np.maximum(x, grey * 1.5 + 0.5)
    return eight_bits(np.clip(x + layer + np.rot90(layer, k=2), 0, 1) * 255)


class FrostDraws(NamedTuple):
    texture: int
    top: int
    left: int


_textures = []


def textures():
    """Ours, in place of the published photographs, as OpenCV has images: (n, m, 3)."""
    if not _textures:
        _textures.extend(each.permute(1, 2, 0).contiguous().numpy() for each in frost_textures())
    return _textures


def frost_draws(rng, image, strength):
    number = int(rng.integers(5))
    height, width = (round(side * strength.scale) for side in textures()[number].shape[:2])
    top = int(rng.integers(0, height - image.shape[0]))
    return FrostDraws(number, top, int(rng.integers(0, width - image.shape[1])))


def frost(image, strength, draws):
    texture = textures()[draws.texture]
    if strength.scale != 1:
        texture = cv2.resize(texture, (0, 0), fx=strength.scale, fy=strength.scale)
    height, width = image.shape[:2]
    texture = texture[draws.top : draws.top + height, draws.left : draws.left + width]
    return eight_bits(strength.image * np.array(image) + strength.frost * texture)


class FogDraws(NamedTuple):
    octaves: list  # coarsest first: uniform in [0, 1), (3, k, k), of centres, right and below


def fog_draws(rng, image, strength):
    side = 2 ** int(np.ceil(np.log2(max(image.shape[:2]))))
    return FogDraws([rng.random((3, 2**k, 2**k)) for k in range(int(np.log2(side)))])


def plasma(draws, decay):
    """Midpoint displacement on a torus, in place, from 0 to 1."""
    side = 2 ** len(draws.octaves)
    field = np.zeros((side, side))
    step, wibble = side, 100.0
    for octave in draws.octaves:
        half = step // 2
        offsets = wibble * (-wibble + (wibble - -wibble) * octave)
        corners = field[::step, ::step]
        squares = corners + np.roll(corners, -1, axis=0)
        squares += np.roll(squares, -1, axis=1)
        centres = squares / 4 + offsets[0]
        field[half::step, half::step] = centres
        aside = centres + np.roll(centres, 1, axis=0)
        along = corners + np.roll(corners, -1, axis=1)
        field[::step, half::step] = (aside + along) / 4 + offsets[1]
        aside = centres + np.roll(centres, 1, axis=1)
        along = corners + np.roll(corners, -1, axis=0)
        field[half::step, ::step] = (aside + along) / 4 + offsets[2]
        step, wibble = half, wibble / decay
    field -= field.min()
    return field / field.max()


def fog(image, strength, draws):
    x = np.array(image) / 255.0
    brightest = x.max()
    fogged = plasma(draws, strength.decay)[: image.shape[0], : image.shape[1], np.newaxis]
    x = x + strength.density * fogged
    return eight_bits(np.clip(x * brightest / (brightest + strength.density), 0, 1) * 255)


def brightness(image, strength, draws=None):
    hsv = rgb2hsv(np.array(image) / 255.0)
    hsv[..., 2] = np.clip(hsv[..., 2] + strength, 0, 1)
    return eight_bits(np.clip(hsv2rgb(hsv), 0, 1) * 255)
