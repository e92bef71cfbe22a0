"""Weather corruptions: snow, frost, fog and brightness.

Source: Hendrycks & Dietterich, ICLR 2019, and the generators of ImageNet-C, Tiny ImageNet-C and
CIFAR-C that its authors published; every number below is theirs.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from attacks.corruptions.arithmetic import eight_bits, per_image, unit
from attacks.corruptions.colour import HSV, hsv_to_rgb, largest, rgb_to_hsv
from attacks.corruptions.corruption import Corruption, Shape
from attacks.corruptions.filters import motion_blur, zoom
from attacks.corruptions.textures import frost_textures, luminance, scaled
from attacks.draws import Stream, bits, normal, uniform

_GREY = 0.299, 0.587, 0.114  # the luminance of red, green and blue, ITU-R BT.601


class Snow(NamedTuple):
    """How strong snow is: flakes are normal draws, enlarged, cut off below and blurred."""

    mean: float
    sd: float
    zoom: float
    threshold: float
    radius: int
    sigma: float
    image: float
    """The share of the image that is not whitened."""


class SnowDraws(NamedTuple):
    """Standard normal values (N, 1, H, W), and where the flakes come from, (N,), in degrees."""

    flakes: Tensor
    angle: Tensor


class Frost(NamedTuple):
    """The weights of image and frost, and the scale of the frost's photograph."""

    image: float
    frost: float
    scale: float


class FrostDraws(NamedTuple):
    """Which texture, and where in it: 32-bit words, int64 (N,), uniform in [0, 2³²)."""

    texture: Tensor
    top: Tensor
    left: Tensor


class Fog(NamedTuple):
    """How dense fog is, and how fast its swirls fade as they get smaller."""

    density: float
    decay: float


class FogDraws(NamedTuple):
    """Uniform values in [0, 1), (N, S² - 1), for a map of side S, see `fog_side`.

    From the coarsest octave to the finest, k² values for the centres of the squares, k² for the
    points to the right of their corners and k² for those below: k = 1, 2, 4, ... S / 2.
    """

    swirls: Tensor


def _draw_snow(seeds: Tensor, shape: Shape, strength: Snow) -> SnowDraws:
    turn = uniform(seeds, (1,), stream=Stream.CORRUPTION, step=1)[:, 0]
    flakes = normal(seeds, (1, *shape[1:]), stream=Stream.CORRUPTION, step=0)
    return SnowDraws(flakes, turn * 90 - 135)  # in [-135, -45)


def _snow(pixels: Tensor, strength: Snow, draws: SnowDraws, dtype: torch.dtype) -> Tensor:
    flakes = zoom(draws.flakes.to(dtype) * strength.sd + strength.mean, strength.zoom)
    flakes = flakes.masked_fill_(flakes < strength.threshold, 0).clamp_(0, 1).mul_(255)
    flakes = eight_bits(flakes).to(dtype)
    flakes = motion_blur(flakes, draws.angle, strength.radius, strength.sigma)
    flakes += flakes.flip((2, 3))
    values = unit(pixels, torch.float32)  # float32 in the published generator, too
    if pixels.shape[1] == 3:
        red, green, blue = values.split(1, dim=1)
        grey = (red * _GREY[0]).add_(green * _GREY[1]).add_(blue * _GREY[2])
    else:
        grey = values
    white = torch.maximum(values, (grey * 1.5).add_(0.5)).mul_(1 - strength.image)
    values = values.mul_(strength.image).add_(white).to(dtype)
    return eight_bits(values.mul_(255).add_(flakes))


class _Sheets(NamedTuple):
    """All textures at the upper left of sheets of one size, uint8 (T, C, H, W), and their sides."""

    pixels: Tensor
    heights: Tensor
    widths: Tensor


def frost_with(textures: Sequence[Tensor]) -> Corruption:
    """Frost from photographs of your own, such as those that ImageNet-C was made with.

    Each image gets one of them with equal chances. The published generator draws from five, of
    which the second and the third are the same picture. ``CORRUPTIONS["frost"]`` does so from
    `frost_textures`, and enlarges those that do not cover the images.

    Args:
        textures: uint8 (3, H, W), as they are before they are scaled to the size of the images.

    Raises:
        ValueError: for textures of another kind; and when corrupting, if a texture is not larger
            than the image on both sides once it is scaled.
    """
    if not textures:
        raise ValueError("Frost needs at least one texture")
    for number, texture in enumerate(textures, 1):
        if texture.dtype != torch.uint8 or texture.dim() != 3 or texture.shape[0] != 3:
            raise ValueError(
                f"A frost texture is uint8 (3, H, W); number {number} is {texture.dtype} "
                f"{tuple(texture.shape)}"
            )
    return _frost_of(lambda: textures, enlarge=False)


@lru_cache(maxsize=16)
def _sheets(
    textures: Callable[[], Sequence[Tensor]],
    enlarge: bool,
    scale: float,
    shape: Shape,
    device: torch.device,
) -> _Sheets:
    channels, height, width = shape
    pictures = []
    for number, texture in enumerate(textures(), 1):
        picture = texture if channels == 3 else luminance(texture)
        grown = scaled(picture, scale)
        if grown.shape[1] <= height or grown.shape[2] <= width:
            if not enlarge:
                raise ValueError(
                    f"Frost texture {number} is {grown.shape[2]}x{grown.shape[1]} at its scale "
                    f"of {scale:g}; it must be larger than the images, {width}x{height}"
                )
            # A quarter more than the image leaves crops to choose from.
            ratio = max(height / picture.shape[1], width / picture.shape[2])
            grown = scaled(picture, 1.25 * ratio)
        pictures.append(grown)
    heights = torch.tensor([picture.shape[1] for picture in pictures])
    widths = torch.tensor([picture.shape[2] for picture in pictures])
    pixels = torch.zeros(
        len(pictures), channels, int(heights.max()), int(widths.max()), dtype=torch.uint8
    )
    for sheet, picture in zip(pixels, pictures, strict=True):
        sheet[:, : picture.shape[1], : picture.shape[2]] = picture
    return _Sheets(pixels.to(device), heights.to(device), widths.to(device))


def _frost_of(textures: Callable[[], Sequence[Tensor]], *, enlarge: bool) -> Corruption:
    def apply(pixels: Tensor, strength: Frost, draws: FrostDraws, dtype: torch.dtype) -> Tensor:
        _, channels, height, width = pixels.shape
        shape = channels, height, width
        pieces = _sheets(textures, enlarge, strength.scale, shape, pixels.device)
        frost = _crops(pieces, draws, height, width).to(dtype).mul_(strength.frost)
        return eight_bits(pixels.to(dtype).mul_(strength.image).add_(frost))

    return Corruption("frost", "weather", _FROST, apply, _draw_frost)


def _crops(sheets: _Sheets, draws: FrostDraws, height: int, width: int) -> Tensor:
    """A piece of a texture for each image, uint8 (N, C, height, width)."""
    number = (draws.texture * len(sheets.heights)) >> 32
    top = (draws.top * (sheets.heights[number] - height)) >> 32
    left = (draws.left * (sheets.widths[number] - width)) >> 32
    if not top.is_cpu:  # one launch for all images, and no waiting for the device
        return sheets.pixels.unfold(2, height, 1).unfold(3, width, 1)[number, :, top, left]
    places = zip(number.tolist(), top.tolist(), left.tolist(), strict=True)
    return torch.stack(
        [sheets.pixels[each, :, y : y + height, x : x + width] for each, y, x in places]
    )


def _draw_frost(seeds: Tensor, shape: Shape, strength: Frost) -> FrostDraws:
    return FrostDraws(*bits(seeds, (3,), stream=Stream.CORRUPTION).unbind(1))


def fog_side(height: int, width: int) -> int:
    """The side of the map of fog: the least power of two that the image fits in.

    >>> [fog_side(*sides) for sides in ((32, 32), (28, 28), (224, 224), (48, 65))]
    [32, 32, 256, 128]
    """
    return 1 << (max(height, width) - 1).bit_length()


def _draw_fog(seeds: Tensor, shape: Shape, strength: Fog) -> FogDraws:
    count = fog_side(*shape[1:]) ** 2 - 1
    return FogDraws(uniform(seeds, (count,), stream=Stream.CORRUPTION))


def _fog(pixels: Tensor, strength: Fog, draws: FogDraws, dtype: torch.dtype) -> Tensor:
    _, _, height, width = pixels.shape
    fog = plasma(draws.swirls.to(dtype), fog_side(height, width), strength.decay)
    fog = fog[:, None, :height, :width]
    brightest = per_image(pixels.amax(dim=(1, 2, 3))).to(dtype) / 255
    if dtype == torch.float64:  # every operation as published
        values = unit(pixels, dtype) + strength.density * fog
        return eight_bits((values * brightest / (brightest + strength.density)).mul_(255))
    share = brightest / (brightest + strength.density)
    fog = fog * (share * (255 * strength.density))
    return pixels.to(dtype).mul_(share).add_(fog).to(torch.uint8)  # never above 255


def plasma(swirls: Tensor, side: int, decay: float) -> Tensor:
    """Fog by midpoint displacement on a torus, each map from 0 to 1.

    A square's centre is the mean of its corners, and then the middle of an edge the mean of the two
    corners and the two centres beside it, each displaced at random; then the four smaller squares
    have their turn. Source: Fournier, Fussell & Carpenter, "Computer rendering of stochastic
    models", CACM 1982.

    Args:
        swirls: uniform values in [0, 1), (N, side² - 1), as in `FogDraws`.
        side: a power of two.
        decay: what the amplitude is divided by, twice, at each halving.

    Returns:
        (N, side, side), of the dtype of ``swirls``.
    """
    count = len(swirls)
    steps = (swirls * 2 - 1).mul_(_amplitudes(side, decay, swirls.dtype, swirls.device))
    corners = swirls.new_zeros(count, 1, 1)
    start, size = 0, 1
    while size < side:
        octave = steps[:, start : start + 3 * size**2].view(count, 3, size, size)
        aside, right, below = octave.unbind(1)
        across = torch.cat((corners, corners[:, :, :1]), 2)
        around = torch.cat((across, across[:, :1]), 1)
        down = around[:, :-1] + around[:, 1:]
        # A quarter is exact, so that it does not matter whether the sum is fused with it.
        centres = torch.add(aside, down[:, :, :-1] + down[:, :, 1:], alpha=0.25)
        above = torch.cat((centres[:, -1:], centres), 1)
        before = torch.cat((centres[:, :, -1:], centres), 2)
        finer = swirls.new_empty(count, size, 2, size, 2)
        upper, lower = finer.unbind(2)
        upper[..., 0] = corners
        lower[..., 1] = centres
        edge = (above[:, :-1] + above[:, 1:]).add_(across[:, :, :-1]).add_(across[:, :, 1:])
        torch.add(right, edge, alpha=0.25, out=upper[..., 1])
        edge = (before[:, :, :-1] + before[:, :, 1:]).add_(down[:, :, :-1])
        torch.add(below, edge, alpha=0.25, out=lower[..., 0])
        start += 3 * size**2
        size *= 2
        corners = finer.view(count, size, size)
    lowest = corners.amin(dim=(1, 2), keepdim=True)
    highest = corners.amax(dim=(1, 2), keepdim=True)
    return corners.sub_(lowest).div_(highest - lowest)


@lru_cache(maxsize=32)
def _amplitudes(side: int, decay: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """How much each of the draws displaces, (side² - 1,): the published amplitude is a square."""
    octaves = range(side.bit_length() - 1)
    parts = [
        torch.full((3 * 4**octave,), (100 / decay**octave) ** 2, dtype=torch.float64)
        for octave in octaves
    ]
    return torch.cat(parts).to(device, dtype)


def _brightness(pixels: Tensor, strength: float, draws: None, dtype: torch.dtype) -> Tensor:
    if pixels.shape[1] == 1:
        return _brighter_greys(strength, pixels.device)[pixels.to(torch.int32)]
    if dtype == torch.float64:
        hue, saturation, value = rgb_to_hsv(unit(pixels, dtype))
        brighter = HSV(hue, saturation, value.add_(strength).clamp_(0, 1))
        return eight_bits(hsv_to_rgb(brighter).mul_(255))
    index = largest(pixels).to(torch.int32).mul_(256) + pixels
    return _brighter(strength, pixels.device)[index]


@lru_cache(maxsize=32)
def _brighter_greys(strength: float, device: torch.device) -> Tensor:
    levels = torch.arange(256, dtype=torch.float64, device=device)
    return eight_bits(((levels / 255) + strength).clamp_(0, 1).mul_(255))


@lru_cache(maxsize=32)
def _brighter(strength: float, device: torch.device) -> Tensor:
    """What a channel becomes, at 256 · largest channel + channel, uint8 (65536,).

    With hue and saturation fixed a channel keeps its share of the largest. In float64 and by way of
    the saturation, so that the largest and the smallest channel come out as published.
    """
    levels = torch.arange(256, dtype=torch.float64, device=device) / 255
    value = levels[:, None]
    saturation = torch.where(value > levels, (value - levels) / value, 0)
    brighter = (value + strength).clamp_(0, 1)
    return eight_bits((brighter * (1 - saturation)).mul_(255)).flatten()


_SNOW = {
    224: (
        Snow(0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        Snow(0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        Snow(0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        Snow(0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        Snow(0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ),
    64: (
        Snow(0.1, 0.2, 1, 0.6, 8, 3, 0.8),
        Snow(0.1, 0.2, 1, 0.5, 10, 4, 0.8),
        Snow(0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
        Snow(0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
        Snow(0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
    ),
    32: (
        Snow(0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        Snow(0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        Snow(0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        Snow(0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        Snow(0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    ),
}
_FROST_WEIGHTS = {
    224: ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    64: ((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)),
    32: ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
}
_FROST_SCALE = {224: 1.0, 64: 0.3, 32: 0.2}
_FROST = {
    size: tuple(Frost(image, frost, _FROST_SCALE[size]) for image, frost in weights)
    for size, weights in _FROST_WEIGHTS.items()
}
_FOG = {
    224: (Fog(1.5, 2), Fog(2, 2), Fog(2.5, 1.7), Fog(2.5, 1.5), Fog(3, 1.4)),
    64: (Fog(0.4, 3), Fog(0.7, 3), Fog(1, 2.5), Fog(1.5, 2), Fog(2, 1.75)),
    32: (Fog(0.2, 3), Fog(0.5, 3), Fog(0.75, 2.5), Fog(1, 2), Fog(1.5, 1.75)),
}
_BRIGHTNESS = {
    224: (0.1, 0.2, 0.3, 0.4, 0.5),
    64: (0.1, 0.2, 0.3, 0.4, 0.5),
    32: (0.05, 0.1, 0.15, 0.2, 0.3),
}

CORRUPTIONS = (
    Corruption("snow", "weather", _SNOW, _snow, _draw_snow),
    _frost_of(frost_textures, enlarge=True),
    Corruption("fog", "weather", _FOG, _fog, _draw_fog),
    Corruption("brightness", "weather", _BRIGHTNESS, _brightness),
)
