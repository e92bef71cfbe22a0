"""Every operation of AugMix against Pillow, value for value."""

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from published import augmix as published

from attacks.corruptions import CORRUPTIONS
from defenses.augmix_operations import OPERATIONS, WEAKENING

PHOTOGRAPHS = Path(importlib.util.find_spec("foolbox").origin).parent / "data"
ALL = OPERATIONS | WEAKENING
RNG_SEED = 8


@cache
def pictures(height, width, channels):
    """uint8 (N, H, W, C): photographs, noise, ramps, dim ones and one of one value."""
    rng = np.random.default_rng(RNG_SEED)
    photographs = [
        np.asarray(Image.open(path).convert("RGB").resize((width, height), Image.Resampling.BOX))
        for path in sorted(PHOTOGRAPHS.glob("imagenet_*"))[:12]
    ]
    noise = rng.integers(0, 256, (8, height, width, 3), dtype=np.uint8)
    y, x = np.mgrid[:height, :width]
    ramp = np.stack([x * 200 // width, y * 255 // height, (x + y) // 16 * 16], axis=2)
    flat = np.full((height, width, 3), (0, 255, 77))
    two = np.where(((x == 3) & (y > 2))[..., None], (255, 1, 130), flat)  # equalize's smallest step
    dim = noise[:2] // 9 + np.array([0, 100, 225])
    made = np.stack([*photographs, *noise, ramp, flat, two, *dim]).astype(np.uint8)
    return made if channels == 3 else np.ascontiguousarray(made[..., 1:2])


def as_picture(image):
    return Image.fromarray(image if image.shape[2] == 3 else image[..., 0])


def both(name, images, levels, signs):
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    before = pixels.clone()
    magnitudes = ALL[name].magnitudes(
        torch.from_numpy(levels), torch.from_numpy(signs), *pixels.shape[2:]
    )
    ours = ALL[name].apply(pixels, magnitudes)
    assert torch.equal(pixels, before)
    assert ours.dtype == torch.uint8
    theirs = np.stack(
        [
            np.asarray(published.OPERATIONS[name](as_picture(image), level, int(sign)))
            for image, level, sign in zip(images, levels, signs, strict=True)
        ]
    )
    return ours.permute(0, 2, 3, 1).numpy(), theirs.reshape(images.shape)


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 64), (28, 37)])
@pytest.mark.parametrize("name", list(ALL))
def test_operations_are_pillows_in_every_value(name, height, width, channels):
    images = pictures(height, width, channels)
    rng = np.random.default_rng(height)
    for severity in (1, 3, 10):
        levels = rng.uniform(0.1, severity, len(images))
        signs = rng.choice([-1.0, 1.0], len(images))
        ours, theirs = both(name, images, levels, signs)
        assert np.array_equal(ours, theirs)
        changed = (theirs != images).any()
        assert changed or (name == "color" and channels == 1) or severity == 1


@pytest.mark.parametrize("name", list(ALL))
def test_images_beside_an_image_do_not_matter(name):
    images = pictures(32, 32, 3)
    levels, signs = np.linspace(0.1, 2.9, len(images)), np.tile([1.0, -1.0], len(images))
    ours, _ = both(name, images, levels, signs[: len(images)])
    alone, _ = both(name, images[4:5], levels[4:5], signs[4:5])
    assert np.array_equal(ours[4:5], alone)


def test_translations_are_whole_pixels_with_black_behind():
    pixels = torch.arange(1, 26, dtype=torch.uint8).view(1, 1, 5, 5).expand(3, 1, 5, 5)
    shifts = torch.tensor([2.0, -1.0, 7.0], dtype=torch.float64)
    right = ALL["translate_x"].apply(pixels, shifts)
    assert right[:, 0, 0].tolist() == [[3, 4, 5, 0, 0], [0, 1, 2, 3, 4], [0] * 5]
    down = ALL["translate_y"].apply(pixels, shifts)
    assert down[:, 0, :, 0].tolist() == [[11, 16, 21, 0, 0], [0, 1, 6, 11, 16], [0] * 5]


def test_the_weakening_operations_name_test_corruptions_and_the_others_none():
    assert {name: each.shows for name, each in ALL.items() if each.shows} == {
        "color": ("saturate",),
        "contrast": ("contrast",),
        "brightness": ("brightness",),
        "sharpness": ("gaussian_blur", "defocus_blur"),
    }
    assert {name for each in WEAKENING.values() for name in each.shows} <= set(CORRUPTIONS)
