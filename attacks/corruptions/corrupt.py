"""Corrupt a batch of images, whatever its size, dtype and device."""

import math
import zlib
from functools import cache

import torch
from torch import Tensor

from attacks.corruptions.corruption import (
    SEVERITIES,
    SIZES,
    SMALLEST,
    Corruption,
    strength_size,
)
from attacks.draws import Stream, derived_seeds

_CHUNK = {"cpu": 2**18}  # values that are worked on together: they stay in the cache of a core
_CHUNK_ELSEWHERE = 2**25


def corrupt(
    images: Tensor,
    corruption: Corruption,
    severity: int,
    *,
    seeds: Tensor | None = None,
    strengths: int | None = None,
    exact: bool = False,
) -> Tensor:
    """Corrupt images as the published generator of ImageNet-C or CIFAR-C does.

    Args:
        images: (N, C, H, W), C 1 or 3, sides of at least 16 pixels; float in [0, 1], which is
            rounded to 8 bits first, or uint8.
        corruption: a value of `attacks.corruptions.CORRUPTIONS`.
        severity: 1 to 5.
        seeds: int64 (N,), one per image; may be None for a corruption without randomness. The
            draws depend on the seed, the corruption and the severity, on nothing else.
        strengths: 32, 64 or 224, to take the strengths of images of that size; None goes by the
            images' own, see `strength_size`.
        exact: compute in float64, within one grey level of the published generator given the same
            draws; else in float32, which is faster and differs by a level in few values.

    Returns:
        The corrupted images, of the shape, dtype and device of ``images``, on the 8-bit grid.

    Raises:
        ValueError: for a severity, strength, seed or image that is none.
    """
    _check(images, corruption, severity, seeds, strengths)
    strength = corruption.strengths[strengths or strength_size(*images.shape[2:])][severity - 1]
    shape = (images.shape[1], images.shape[2], images.shape[3])
    dtype = torch.float64 if exact else torch.float32
    if seeds is None:
        seeds = torch.zeros(len(images), dtype=torch.int64)
    own = derived_seeds(
        seeds.to(images.device), stream=Stream.CORRUPTION, step=_number(corruption, severity)
    )
    _keep_freed_memory()
    count = max(1, _CHUNK.get(images.device.type, _CHUNK_ELSEWHERE) // math.prod(shape))
    corrupted = torch.empty_like(images)
    for start in range(0, len(images), count):
        rows = slice(start, start + count)
        draws = None if corruption.draw is None else corruption.draw(own[rows], shape, strength)
        pixels = corruption.apply(_eight_bit(images[rows]), strength, draws, dtype)
        corrupted[rows] = pixels if images.dtype == torch.uint8 else pixels.to(images.dtype) / 255
    return corrupted


@cache
def _keep_freed_memory() -> None:
    """Have the C library reuse freed blocks, not hand each back to the system and ask for it anew.

    glibc does so for blocks as large as the largest that was ever freed, up to 32 MB. Without it
    the page faults take up to three times as long as the arithmetic.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


def _eight_bit(images: Tensor) -> Tensor:
    if images.dtype == torch.uint8:
        return images
    return images.mul(255).round_().clamp_(0, 255).to(torch.uint8)


def _number(corruption: Corruption, severity: int) -> int:
    """A 32-bit number for the draws of this corruption at this severity."""
    return (zlib.crc32(corruption.name.encode()) << 3 | severity) & 0xFFFFFFFF


def _check(
    images: Tensor,
    corruption: Corruption,
    severity: int,
    seeds: Tensor | None,
    strengths: int | None,
) -> None:
    if severity not in SEVERITIES:
        raise ValueError(f"A severity is 1, 2, 3, 4 or 5, not {severity}")
    if strengths is not None and strengths not in SIZES:
        raise ValueError(
            f"Strengths are those of images of 32, 64 or 224 pixels, not of {strengths}"
        )
    if images.dim() != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"Images are (N, C, H, W) with C 1 or 3, not {tuple(images.shape)}")
    if min(images.shape[2:]) < SMALLEST:
        raise ValueError(
            f"Images of {images.shape[3]}x{images.shape[2]} are too small to be corrupted: "
            f"{SMALLEST} pixels is the least"
        )
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise ValueError(f"Images are uint8, or floats in [0, 1], not {images.dtype}")
    if images.is_floating_point() and len(images):
        low, high = (float(value) for value in images.aminmax())
        if not (low >= -1e-6 and high <= 1 + 1e-6):
            raise ValueError(f"Images are in [0, 1]; these run from {low:g} to {high:g}")
    if corruption.draw is None:
        return
    if seeds is None:
        raise ValueError(f"{corruption.name} is random: give one seed per image")
    if seeds.shape != (len(images),) or seeds.dtype != torch.int64:
        raise ValueError(f"Give one int64 seed per image, not {seeds.dtype} {tuple(seeds.shape)}")
