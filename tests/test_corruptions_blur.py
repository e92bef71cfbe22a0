"""The blur corruptions against the published algorithms with the same draws."""

import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from published import blur as published

from attacks.corruptions import CORRUPTIONS, blur
from attacks.corruptions.blur import Defocus, MotionDraws, defocus_kernel
from attacks.corruptions.glass import Glass, GlassDraws, glass_origins

PHOTOGRAPHS = Path(importlib.util.find_spec("foolbox").origin).parent / "data"
SIZES = (32, 64, 224)
CASES = [
    (each.name, size, severity)
    for each in blur.CORRUPTIONS
    for size in SIZES
    for severity in (1, 2, 3, 4, 5)
]


def photographs(height, width, count):
    """uint8 (count, 3, height, width): photographs, the last half of the last one noise."""
    paths = sorted(PHOTOGRAPHS.glob("imagenet_*"))[:count]
    images = [np.array(Image.open(path).convert("RGB").resize((width, height))) for path in paths]
    noise = np.random.default_rng(0).integers(0, 256, (height - height // 2, width, 3))
    images[-1][height // 2 :] = noise
    return torch.tensor(np.stack(images)).permute(0, 3, 1, 2).contiguous()


def strength_of(name, size, severity):
    return CORRUPTIONS[name].strengths[size][severity - 1]


def published_draws(name, images, strength):
    """The published draws of each image (height, width, 3), and the same as the package's."""
    if CORRUPTIONS[name].draw is None:
        return [None] * len(images), None
    rng = np.random.default_rng(3)
    draws = [getattr(published, f"{name}_draws")(rng, image, strength) for image in images]
    if name == "motion_blur":
        return draws, MotionDraws(torch.tensor(draws))
    return draws, GlassDraws(
        torch.stack([moves(each, strength, images[0].shape) for each in draws])
    )


def moves(offsets, strength, shape):
    """The package's moves, first pixel first, of published offsets, last pixel first."""
    delta = strength.max_delta
    rows, columns = (side - 2 * delta for side in shape[:2])
    offsets = np.array(offsets).reshape(strength.sweeps, rows, columns, 2)[:, ::-1, ::-1] + delta
    return torch.tensor(offsets[..., 1] * 2 * delta + offsets[..., 0], dtype=torch.int32)


def both(name, pixels, strength, dtype):
    """What the published code and the package make of the same pixels and draws."""
    images = [image.permute(1, 2, 0).numpy() for image in pixels]
    draws, ours = published_draws(name, images, strength)
    expected = [
        getattr(published, name)(image.copy(), strength, draw)
        for image, draw in zip(images, draws, strict=True)
    ]
    corrupted = CORRUPTIONS[name].apply(pixels, strength, ours, dtype)
    return torch.tensor(np.stack(expected)).permute(0, 3, 1, 2).int(), corrupted.int()


@pytest.mark.parametrize(("name", "size", "severity"), CASES)
def test_exact_is_the_published_image(name, size, severity):
    pixels = photographs(size, size, 6 if size == 32 else 2 if size == 64 else 1)
    strength = strength_of(name, size, severity)
    expected, exact = both(name, pixels, strength, torch.float64)
    difference = (expected - exact).abs()
    assert difference.max() <= 1
    if name == "motion_blur":
        assert not difference.any()
    # OpenCV sums a large kernel by Fourier transforms, too, but not by these: ties may break.
    assert (difference > 0).double().mean() <= 1e-4


# Shares of values a level off. A blur that hardly moves anything leaves values on whole levels,
# where the published truncation turns on the last bit of a double: these are the large shares.
ON_WHOLE_LEVELS = {
    ("defocus_blur", 32, 4): 0.1,
    ("glass_blur", 32, 2): 0.04,
    ("glass_blur", 32, 3): 0.04,
    ("glass_blur", 32, 4): 0.04,
    ("glass_blur", 32, 5): 0.04,
}


@pytest.mark.parametrize(("name", "size", "severity"), CASES)
def test_fast_is_within_a_level_of_exact(name, size, severity):
    pixels = photographs(size, size, 20 if size == 32 else 4 if size == 64 else 1)
    corruption = CORRUPTIONS[name]
    strength = strength_of(name, size, severity)
    draws = corruption.draw and corruption.draw(
        torch.arange(len(pixels)), pixels.shape[1:], strength
    )
    exact, fast = (
        corruption.apply(pixels, strength, draws, dtype).int()
        for dtype in (torch.float64, torch.float32)
    )
    assert (exact - fast).abs().max() <= 1
    share = (exact != fast).double().mean().item()
    assert share <= ON_WHOLE_LEVELS.get((name, size, severity), 0.005)


@pytest.mark.parametrize("name", [each.name for each in blur.CORRUPTIONS])
@pytest.mark.parametrize("shape", [(17, 40), (96, 50)])
def test_rectangles_are_corrupted_as_published(name, shape):
    pixels = photographs(*shape, 2)
    for size in SIZES:
        strength = strength_of(name, size, 5)
        expected, exact = both(name, pixels, strength, torch.float64)
        _, fast = both(name, pixels, strength, torch.float32)
        assert (expected - exact).abs().max() <= 1
        assert (expected != exact).double().mean() <= 1e-3
        assert (expected - fast).abs().max() <= 1


@pytest.mark.parametrize("name", [each.name for each in blur.CORRUPTIONS])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("size", "channels"), [(32, 3), (32, 1), (70, 3), (224, 1)])
def test_an_image_does_not_depend_on_the_batch(name, dtype, size, channels):
    pixels = photographs(size, size, 5 if size < 200 else 3)[:, :channels]
    corruption = CORRUPTIONS[name]
    for severity in (1, 5):
        strength = strength_of(name, 224, severity)
        seeds = torch.arange(len(pixels)) + 5
        shape = pixels.shape[1:]

        def corrupted(rows, seeds=seeds, strength=strength, shape=shape):
            draws = corruption.draw and corruption.draw(seeds[rows], shape, strength)
            return corruption.apply(pixels[rows], strength, draws, dtype)

        together = corrupted(slice(None))
        apart = torch.cat([corrupted(slice(row, row + 1)) for row in range(len(pixels))])
        assert torch.equal(together, apart)


@pytest.mark.parametrize("name", [each.name for each in blur.CORRUPTIONS])
def test_grey_images_are_a_channel_of_colourless_ones(name):
    grey = photographs(28, 28, 4)[:, :1]
    corruption = CORRUPTIONS[name]
    strength = strength_of(name, 32, 5)
    draws = corruption.draw and corruption.draw(torch.arange(4), (1, 28, 28), strength)
    for dtype in (torch.float32, torch.float64):
        colourless = corruption.apply(grey.expand(-1, 3, -1, -1), strength, draws, dtype)
        single = corruption.apply(grey, strength, draws, dtype)
        assert single.shape == (4, 1, 28, 28)
        assert torch.equal(colourless, single.expand(-1, 3, -1, -1))


@pytest.mark.parametrize("name", [each.name for each in blur.CORRUPTIONS])
@pytest.mark.parametrize("size", SIZES)
def test_white_stays_white_and_black_black(name, size):
    corruption = CORRUPTIONS[name]
    for severity in (1, 2, 3, 4, 5):
        strength = strength_of(name, size, severity)
        if name == "defocus_blur" and blur._sum(strength) < 1:
            continue  # then the published white is 254
        draws = corruption.draw and corruption.draw(torch.arange(1), (3, 40, 70), strength)
        for level in (0, 255):
            flat = torch.full((1, 3, 40, 70), level, dtype=torch.uint8)
            assert torch.equal(corruption.apply(flat, strength, draws, torch.float32), flat)


def test_defocus_kernels_are_disks_that_may_brighten():
    # Points of the disks at 224 pixels; the two whose smoothing meets the border of the kernel
    # sum to more than 1.
    for (radius, alias), count, total in zip(
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        (29, 49, 113, 197, 317),
        (1, 1, 1, 1.012975, 1.010786),
        strict=True,
    ):
        sharp = defocus_kernel(radius, 1e-3)
        assert int((sharp > 0.5 / count).sum()) == count
        assert float(defocus_kernel(radius, alias).double().sum()) == pytest.approx(total, abs=1e-6)
    assert defocus_kernel(10, 0.5).shape == (21, 21)


@pytest.mark.parametrize("size", SIZES)
def test_defocus_kernels_are_opencvs(size):
    for severity in (1, 2, 3, 4, 5):
        strength = strength_of("defocus_blur", size, severity)
        expected = published._disk(strength.radius, strength.alias)
        np.testing.assert_allclose(defocus_kernel(*strength), expected, rtol=3e-7, atol=1e-12)


def test_zoom_factors_are_numpys():
    counts = {
        size: [len(strength_of("zoom_blur", size, severity).factors()) for severity in range(1, 6)]
        for size in SIZES
    }
    assert counts == {224: [12, 16, 11, 13, 11], 64: [7, 12, 16, 21, 26], 32: [7, 12, 16, 21, 26]}
    # The first list of each size ends beyond its stop less a step.
    assert strength_of("zoom_blur", 224, 1).factors()[-1] == pytest.approx(1.11)
    assert strength_of("zoom_blur", 224, 5).factors()[-1] == pytest.approx(1.30)


@pytest.mark.parametrize("shape", [(16, 16), (23, 40)])
@pytest.mark.parametrize(("delta", "sweeps"), [(1, 3), (2, 2), (3, 1), (4, 3)])
def test_glass_moves_pixels_as_one_after_the_other_would(shape, delta, sweeps):
    height, width = shape
    rng = np.random.default_rng(delta)
    count = 3
    drawn = rng.integers(0, 4 * delta**2, (count, sweeps, height - 2 * delta, width - 2 * delta))
    expected = np.arange(count * height * width).reshape(count, height, width)
    for image, own in zip(expected, drawn, strict=True):
        for sweep in own:
            for row in range(height - delta, delta, -1):
                for column in range(width - delta, delta, -1):
                    move = sweep[row - delta - 1, column - delta - 1]
                    down, right = move // (2 * delta) - delta, move % (2 * delta) - delta
                    image[row, column] = image[row + down, column + right]
    origins = glass_origins(torch.tensor(drawn, dtype=torch.int32), height, width, delta)
    assert origins.tolist() == expected.flatten().tolist()


@pytest.mark.parametrize("delta", [1, 2, 3, 4])
def test_glass_moves_are_equally_likely(delta):
    strength = Glass(1, delta, 2)
    drawn = CORRUPTIONS["glass_blur"].draw(torch.arange(20), (3, 61, 70), strength).moves
    assert drawn.shape == (20, 2, 61 - 2 * delta, 70 - 2 * delta)
    counts = torch.bincount(drawn.flatten(), minlength=4 * delta**2).double()
    assert len(counts) == 4 * delta**2
    expected = counts.sum() / len(counts)
    chi_squared = float(((counts - expected) ** 2 / expected).sum())
    # Of mean k and variance 2k with k degrees of freedom: six standard deviations.
    free = len(counts) - 1
    assert chi_squared < free + 6 * (2 * free) ** 0.5
    # Neighbours in the image and the two sweeps have nothing to do with each other.
    centred = drawn.double() - drawn.double().mean()
    for first, second in (
        (centred[..., 1:], centred[..., :-1]),
        (centred[:, 0], centred[:, 1]),
        (centred[:10], centred[10:]),
    ):
        correlation = (first * second).mean() / centred.square().mean()
        assert abs(correlation) < 6 / first.numel() ** 0.5


def test_angles_are_uniform_over_a_right_angle():
    angles = CORRUPTIONS["motion_blur"].draw(torch.arange(20_000), (3, 32, 32), None).angles
    assert angles.min() >= -45
    assert angles.max() <= 45
    # Standard deviation 90 / sqrt(12) = 25.98; the mean's is 0.184, the variance's 4.27.
    assert abs(angles.double().mean()) < 6 * 0.184
    assert abs(angles.double().var() - 675) < 6 * 4.27


def test_defocus_of_a_point_is_the_kernel():
    strength = Defocus(10, 0.5)
    pixels = torch.zeros(1, 1, 96, 99, dtype=torch.uint8)
    pixels[0, 0, 48, 50] = 255
    made = CORRUPTIONS["defocus_blur"].apply(pixels, strength, None, torch.float64)[0, 0]
    expected = torch.zeros(96, 99)
    expected[38:59, 40:61] = defocus_kernel(*strength).flip(0, 1)
    # Values are at most 255 / 317 and would all be cut to 0: the centre of the disk is.
    assert torch.equal(made, (expected * 255).to(torch.uint8))


# Of what the published algorithms make of this noise, on the libraries of the tests.
DIGESTS = {
    "defocus_blur": "4d72c5d0de251caf",
    "glass_blur": "27fd8878edc0a2cb",
    "motion_blur": "3b168e660e4a7f1d",
    "zoom_blur": "a670421b3977389b",
}


@pytest.mark.parametrize("name", [each.name for each in blur.CORRUPTIONS])
def test_the_exact_image_is_the_stored_one(name):
    pixels = torch.tensor(
        np.random.default_rng(7).integers(0, 256, (2, 3, 32, 32)), dtype=torch.uint8
    )
    digest = hashlib.sha256()
    for severity in (1, 2, 3, 4, 5):
        strength = strength_of(name, 32, severity)
        images = [image.permute(1, 2, 0).numpy() for image in pixels]
        _, draws = published_draws(name, images, strength)
        made = CORRUPTIONS[name].apply(pixels, strength, draws, torch.float64)
        digest.update(made.numpy().tobytes())
    assert digest.hexdigest()[:16] == DIGESTS[name]
