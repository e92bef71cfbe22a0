"""The operations of AugMix on batches of 8-bit images, value for value those of Pillow.

Each takes pixels, uint8 (n, C, H, W) of one or three channels, and one magnitude for each image,
float64 (n,), and gives uint8 of the same shape. What is not exact in 8 bits is computed in float64
and truncated, as Pillow does; ``blend`` is its float32.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

# Interpolation in another order of operations errs by 1e-13 levels: 200 must not become 199.
_ALLOWANCE = 2.0**-30
_GREY = 19595, 38470, 7471  # 2¹⁶ times .299, .587 and .114 (ITU-R BT.601), as Pillow rounds them


class Operation(NamedTuple):
    """An operation, and how strongly AugMix applies it.

    Attributes:
        apply: ``apply(pixels, magnitudes)``.
        magnitudes: ``magnitudes(level, sign, height, width)`` in the operation's own unit, from a
            level between 0.1 and 10 and a sign, -1 or 1, for each image, float64 (n,).
        shows: the test corruptions that it shows a model.
    """

    apply: Callable[[Tensor, Tensor], Tensor]
    magnitudes: Callable[[Tensor, Tensor, int, int], Tensor]
    shows: tuple[str, ...] = ()


def autocontrast(pixels: Tensor, magnitudes: Tensor | None = None) -> Tensor:
    """Stretch each channel to 0 ... 255; a channel of one value stays."""
    low, high = (edge(dim=(2, 3), keepdim=True).double() for edge in (pixels.amin, pixels.amax))
    flat = high <= low
    # By a tensor: torch divides a number by multiplying it by the inverse.
    scale = torch.where(flat, 1.0, torch.full_like(low, 255).div_(high - low))
    offset = torch.where(flat, 0.0, -low * scale)
    return pixels.double().mul_(scale).add_(offset).clamp_(0, 255).to(torch.uint8)


def equalize(pixels: Tensor, magnitudes: Tensor | None = None) -> Tensor:
    """Spread each channel's values evenly by its cumulative histogram."""
    n, channels, height, width = pixels.shape
    values = pixels.view(n * channels, -1).to(torch.int64)
    one = torch.ones(1, 1, dtype=torch.int32, device=pixels.device)
    counts = one.new_zeros(len(values), 256).scatter_add_(1, values, one.expand_as(values))
    brightest = counts.gather(1, pixels.amax((2, 3)).view(-1, 1).to(torch.int64))
    step = ((height * width - brightest) // 255).double()
    below = counts.cumsum(1, dtype=torch.float64).sub_(counts)
    spread = below.add_((step / 2).floor_()).div_(step).clamp_(0, 255)
    same = torch.arange(256, dtype=torch.float64, device=pixels.device)
    table = torch.where(step > 0, spread, same).to(torch.uint8)
    return table.gather(1, values).view_as(pixels)


def posterize(pixels: Tensor, bits: Tensor) -> Tensor:
    """Keep the upper ``bits`` bits, 0 to 8."""
    return pixels & _per_image(256 - 2 ** (8 - bits)).to(torch.uint8)


def solarize(pixels: Tensor, thresholds: Tensor) -> Tensor:
    """Invert what is as bright as the threshold, 0 to 255, or brighter."""
    bright = pixels >= _per_image(thresholds).to(torch.uint8)
    return bright.view(torch.uint8).neg().bitwise_xor_(pixels)  # 255 - x is x with all bits flipped


def rotate(pixels: Tensor, degrees: Tensor) -> Tensor:
    """Turn counter-clockwise about the centre by less than 90 degrees; black comes in."""
    height, width = pixels.shape[2:]
    radians = degrees * (math.pi / 180)
    cos, sin, none = radians.cos(), radians.sin(), torch.zeros_like(radians)
    to_x, to_y = (cos, -sin * (height / width), none), (sin * (width / height), cos, none)
    turn = torch.stack([torch.stack(row, 1) for row in (to_x, to_y)], 1)
    # Places in the image that values are taken from, on a scale of -1 to 1 from edge to edge.
    places = F.affine_grid(turn, list(pixels.shape), align_corners=False)
    taken = F.grid_sample(pixels.double(), places, padding_mode="border", align_corners=False)
    x, y = places.abs_().le_(1).unbind(3)
    return taken.add_(_ALLOWANCE).to(torch.uint8).mul_((x * y).to(torch.uint8)[:, None])


def shear_x(pixels: Tensor, slopes: Tensor) -> Tensor:
    """Take each pixel from ``slope`` times its height, measured from the top, further right."""
    return _shear(pixels, slopes, 3)


def shear_y(pixels: Tensor, slopes: Tensor) -> Tensor:
    """Take each pixel from ``slope`` times its distance from the left edge further down."""
    return _shear(pixels, slopes, 2)


def translate_x(pixels: Tensor, shifts: Tensor) -> Tensor:
    """Take each pixel from a whole number of pixels further right."""
    return _shift(pixels, shifts, 3)


def translate_y(pixels: Tensor, shifts: Tensor) -> Tensor:
    """Take each pixel from a whole number of pixels further down."""
    return _shift(pixels, shifts, 2)


def color(pixels: Tensor, factors: Tensor) -> Tensor:
    """Blend with the grey image; a factor of 1 changes nothing. Grey images stay."""
    return _blend(_grey(pixels).float(), pixels, factors)


def contrast(pixels: Tensor, factors: Tensor) -> Tensor:
    """Blend with the grey image's mean, rounded."""
    mean = _grey(pixels).double().mean((1, 2, 3), keepdim=True)
    return _blend((mean + 0.5).floor_().float(), pixels, factors)


def brightness(pixels: Tensor, factors: Tensor) -> Tensor:
    """Blend with black."""
    return _blend(
        torch.zeros_like(factors, dtype=torch.float32)[:, None, None, None], pixels, factors
    )


def sharpness(pixels: Tensor, factors: Tensor) -> Tensor:
    """Blend with the image smoothed over 3x3 pixels, the centre counting five of 13.

    The outermost pixels are not smoothed.
    """
    values = pixels.to(torch.int16)
    columns = values[..., :-2] + values[..., 1:-1] + values[..., 2:]
    total = columns[..., :-2, :] + columns[..., 1:-1, :] + columns[..., 2:, :]
    inner = values[..., 1:-1, 1:-1]
    total += 4 * inner
    smooth = values.float()
    smooth[..., 1:-1, 1:-1] = (2 * total + 13) // 26
    return _blend(smooth, pixels, factors)


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _grey(pixels: Tensor) -> Tensor:
    """Luminance as Pillow rounds it, int32 (n, 1, H, W)."""
    if pixels.shape[1] == 1:
        return pixels.to(torch.int32)
    weighted = (pixels[:, i].to(torch.int32) * weight for i, weight in enumerate(_GREY))
    return (sum(weighted, start=torch.tensor(1 << 15, device=pixels.device)) >> 16)[:, None]


def _blend(base: Tensor, pixels: Tensor, factors: Tensor) -> Tensor:
    """``base + factor * (pixels - base)`` in float32, clipped and truncated."""
    difference = pixels.float() - base
    return difference.mul_(_per_image(factors).float()).add_(base).clamp_(0, 255).to(torch.uint8)


def _shift(pixels: Tensor, shifts: Tensor, axis: int) -> Tensor:
    source = _per_image(shifts).to(torch.int64) + (_along(axis, pixels) + 1)
    padding = (1, 1) if axis == 3 else (0, 0, 1, 1)
    source = source.clamp_(0, pixels.shape[axis] + 1).expand(pixels.shape)
    return F.pad(pixels, padding).gather(axis, source)


def _shear(pixels: Tensor, slopes: Tensor, axis: int) -> Tensor:
    """Shift each row (axis 3) or column (axis 2) by the slope times its distance, interpolating."""
    length = pixels.shape[axis]
    distances = _along(5 - axis, pixels).double() + 0.5  # a pixel's centre
    shifts = _per_image(slopes) * distances
    whole = shifts.floor()
    places = _along(axis, pixels)
    source = torch.cat([places, places.narrow(axis, 0, 1) + length], axis) + whole.to(torch.int64)
    shape = list(pixels.shape)
    shape[axis] += 1
    taken = pixels.gather(axis, source.clamp_(0, length - 1).expand(shape)).double()
    first, second = taken.narrow(axis, 0, length), taken.narrow(axis, 1, length)
    moved = torch.lerp(first, second, shifts - whole).to(torch.uint8)
    centres = places + 0.5 + shifts
    return moved.mul_((centres >= 0) & (centres < length))


def _along(axis: int, pixels: Tensor) -> Tensor:
    """0, 1, 2, ... along an axis, and one everywhere else."""
    shape = [1, 1, 1, 1]
    shape[axis] = pixels.shape[axis]
    return torch.arange(pixels.shape[axis], device=pixels.device).view(shape)


def _none(level: Tensor, sign: Tensor, height: int, width: int) -> Tensor:
    return level


def _slope(level: Tensor, sign: Tensor, height: int, width: int) -> Tensor:
    return sign * (level * 0.3 / 10)


def _factor(level: Tensor, sign: Tensor, height: int, width: int) -> Tensor:
    return level * 1.8 / 10 + 0.1


OPERATIONS: dict[str, Operation] = {
    "autocontrast": Operation(autocontrast, _none),
    "equalize": Operation(equalize, _none),
    "posterize": Operation(posterize, lambda u, sign, h, w: 4 - (u * 4 / 10).trunc()),
    "rotate": Operation(rotate, lambda u, sign, h, w: sign * (u * 30 / 10).trunc()),
    "solarize": Operation(solarize, lambda u, sign, h, w: 256 - (u * 256 / 10).trunc()),
    "shear_x": Operation(shear_x, _slope),
    "shear_y": Operation(shear_y, _slope),
    "translate_x": Operation(translate_x, lambda u, sign, h, w: sign * (u * (w / 3) / 10).trunc()),
    "translate_y": Operation(translate_y, lambda u, sign, h, w: sign * (u * (h / 3) / 10).trunc()),
}
"""The nine operations of AugMix that no test corruption resembles, by name."""

WEAKENING: dict[str, Operation] = {
    "color": Operation(color, _factor, ("saturate",)),
    "contrast": Operation(contrast, _factor, ("contrast",)),
    "brightness": Operation(brightness, _factor, ("brightness",)),
    # Below 1 it mixes an image with one that a bell of 3x3 pixels has smoothed, which is near to
    # these two (`defenses.from_torchvision.OVERLAPPING` has the measure). The other blurs draw out
    # along lines, or let pixels change places.
    "sharpness": Operation(sharpness, _factor, ("gaussian_blur", "defocus_blur")),
}
"""Four more, which test corruptions resemble."""
